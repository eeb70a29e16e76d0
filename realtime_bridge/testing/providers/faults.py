"""Faults of a local provider: failing API calls, and lost, repeated or reordered messages."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from random import Random
from typing import Generic, TypeVar

HOLD_SECONDS = 0.2
"""Longest wait of a held message for a later message that overtakes it."""


@dataclass(kw_only=True)
class Faults:
    """Switches for a provider's faults; `heal` resets them all.

    Args:
        status: the HTTP status of every API call, such as 401, 413, 429 or 500.
        message: the text of that response.
        error_in_body: whether refused API calls have the status 200, and the error in the body.
        html: whether API calls are answered 200 with a page, as by a proxy.
        seconds: the delay of every API call.
        lose: the share of messages, from 0 to 1, that no subscriber receives; drawn for each.
        duplicate: the share of messages that are delivered twice.
        reorder: the share of messages that the next message overtakes.
        refuse: whether new sockets are rejected.
        silent_refusals: whether the refusal of a subscription names no channel.
        unanswered: channels whose subscriptions are never answered, by the provider's names.
        failing: channels whose subscriptions fail, by the provider's names.
        max_name: the longest name of a channel that is accepted, with its prefix.
        random: the source of the draws.

    """

    status: int | None = None
    message: str = "a fault of the test"
    error_in_body: bool = False
    html: bool = False
    seconds: float = 0.0
    lose: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    refuse: bool = False
    silent_refusals: bool = False
    unanswered: frozenset[str] = frozenset()
    failing: frozenset[str] = frozenset()
    max_name: int | None = None
    # A fixed seed: the same test draws the same faults again.
    random: Random = field(default_factory=lambda: Random(1))  # noqa: S311

    def accepts_name(self, name: str) -> bool:
        """Return whether the name is within the limit."""
        return self.max_name is None or len(name) <= self.max_name

    def heal(self) -> None:
        """Reset every fault."""
        for setting in fields(self):
            if setting.name not in ("random", "message"):
                setattr(self, setting.name, setting.default)


T = TypeVar("T")


class FaultyDelivery(Generic[T]):
    """Delivery of messages to one subscriber, with the faults of its provider.

    Args:
        faults: the provider's faults.
        send: the function that delivers a message.

    """

    def __init__(self, faults: Faults, send: Callable[[T], None]) -> None:
        self._faults = faults
        self._send = send
        self._held: T | None = None

    def deliver(self, message: T) -> None:
        """Deliver a message once, twice, later or never."""
        faults, draw = self._faults, self._faults.random.random
        if draw() < faults.lose:
            return
        if self._held is None and draw() < faults.reorder:
            self._held = message
            # Without a later message the held message still arrives.
            asyncio.get_running_loop().call_later(HOLD_SECONDS, self._release)
            return
        self._send(message)
        if draw() < faults.duplicate:
            self._send(message)
        self._release()

    def _release(self) -> None:
        message, self._held = self._held, None
        if message is not None:
            self._send(message)
