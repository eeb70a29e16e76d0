"""What goes wrong at a local provider: calls that fail, and messages that are lost on the way."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from random import Random
from typing import Generic, TypeVar

HELD_SECONDS = 0.2
"""How long a message that shall come late waits for another to overtake it."""


@dataclass(kw_only=True)
class Faults:
    """Set what shall happen; `heal` ends it all.

    Args:
        status: what every API call is answered with, such as 401, 413, 429 or 500.
        message: the text of that answer.
        seconds: how much later an API call is answered.
        lose: the share of messages that never reach a subscriber, from 0 to 1; drawn for each.
        duplicate: the share that comes twice.
        reorder: the share that is overtaken by the next one.
        refuse: whether new sockets are refused.
        random: the dice.

    """

    status: int | None = None
    message: str = "as the test wishes"
    seconds: float = 0.0
    lose: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    refuse: bool = False
    random: Random = field(default_factory=lambda: Random(1))  # noqa: S311 -- repeatable on purpose

    def heal(self) -> None:
        """Let everything go well again."""
        for one in fields(self):
            if one.name not in ("random", "message"):
                setattr(self, one.name, one.default)


T = TypeVar("T")


class Weather(Generic[T]):
    """Hands one subscriber's messages on, as the faults say.

    Args:
        faults: what shall go wrong.
        send: takes a message that goes through.

    """

    def __init__(self, faults: Faults, send: Callable[[T], None]) -> None:
        self._faults = faults
        self._send = send
        self._held: T | None = None

    def carry(self, message: T) -> None:
        """Send it: once, twice, later, or never."""
        faults, draw = self._faults, self._faults.random.random
        if draw() < faults.lose:
            return
        if self._held is None and draw() < faults.reorder:
            self._held = message
            asyncio.get_running_loop().call_later(HELD_SECONDS, self._release)
            return
        self._send(message)
        if draw() < faults.duplicate:
            self._send(message)
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._send(held)
