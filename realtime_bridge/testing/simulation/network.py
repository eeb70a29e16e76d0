"""Network between processes: delays, directions that are blocked, and ordered streams."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from functools import partial
from math import inf
from random import Random
from typing import Any

from realtime_bridge.testing.simulation.virtual_loop import VirtualLoop, set_result

SOCKET_BYTES = 4_096
"""Bytes that a socket takes before its sender has to wait."""


LOSS_SHARE = 0.03
RETRANSMISSIONS = (0.2, 0.6)
"""Share of messages of which TCP sends a packet again, and the seconds until it arrives."""


class Direction:
    """Direction between two processes.

    Args:
        loop: the event loop.
        random: draws the delays.
        delay: the usual delay, in seconds.

    """

    def __init__(self, loop: VirtualLoop, random: Random, delay: float) -> None:
        self.delay: float = delay
        self.extra_delay: float = 0.0
        self.bytes_per_second: float | None = None
        self._loop = loop
        self._random = random
        self._blocks = 0
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def is_blocked(self) -> bool:
        """True while nothing passes; TCP sends it again afterwards."""
        return self._blocks > 0

    def block(self) -> None:
        """Let nothing pass until `unblock`."""
        self._blocks += 1

    def unblock(self) -> None:
        """Let through what waits, if no other fault blocks this direction."""
        self._blocks -= 1
        while self._waiting and not self._blocks:
            self._waiting.popleft()()

    def when_open(self, call: Callable[[], None]) -> None:
        """Call a function when this direction is not blocked any more."""
        self._waiting.append(call)

    def latency(self, size: int) -> float:
        """Return the seconds that so many bytes take now."""
        random = self._random
        seconds = self.delay * (0.5 + random.random()) + self.extra_delay
        if self.bytes_per_second:
            seconds += size / self.bytes_per_second
        return seconds + (random.choice(RETRANSMISSIONS) if random.random() < LOSS_SHARE else 0.0)

    async def traverse(self, size: int = 0, deadline: float = inf) -> None:
        """Wait as long as a message takes, and while this direction is blocked.

        Raises:
            TimeoutError: the message has not arrived by the deadline.

        """
        loop = self._loop
        await loop.sleep(self.latency(size), deadline)
        while self._blocks:
            passed = loop.create_future()
            self.when_open(partial(set_result, passed))
            async with asyncio.timeout_at(None if deadline == inf else deadline):
                await passed


class Link:
    """Way between a client and a server, or between a server and its log."""

    def __init__(self, loop: VirtualLoop, random: Random, *, delay: float) -> None:
        self.up: Direction = Direction(loop, random, delay)
        self.down: Direction = Direction(loop, random, delay)

    def directions(self, which: str) -> list[Direction]:
        """Return the directions that a fault affects: `up`, `down` or `both`."""
        return [self.up, self.down] if which == "both" else [getattr(self, which)]

    def block(self, which: str) -> None:
        """Let nothing pass in these directions until `unblock`."""
        for direction in self.directions(which):
            direction.block()

    def unblock(self, which: str) -> None:
        """Let through what waits in these directions."""
        for direction in self.directions(which):
            direction.unblock()


class Pipe:
    """Ordered stream of items in one direction, as one TCP connection has it.

    Args:
        loop: the event loop.
        direction: the direction that it uses.
        deliver: receives each item.
        context: the context of the receiving process.

    """

    def __init__(
        self,
        loop: VirtualLoop,
        direction: Direction,
        deliver: Callable[[Any], None],
        context: Context,
    ) -> None:
        self.is_broken: bool = False
        """True after a middlebox dropped the connection: what is sent vanishes."""
        self.unacknowledged: int = 0
        """Bytes that were sent and have not arrived."""
        self.on_progress: Callable[[], None] | None = None
        self._loop = loop
        self._direction = direction
        self._deliver = deliver
        self._context = context
        self._last = 0.0
        self._stalled: deque[tuple[Any, int]] = deque()

    @property
    def has_room(self) -> bool:
        """True while the sender's socket takes more."""
        return self.unacknowledged < SOCKET_BYTES

    def send(self, item: Any, size: int = 0) -> None:
        """Send an item after those before it."""
        self.unacknowledged += size
        if self.is_broken:
            return
        self._last = max(self._last, self._loop.now + self._direction.latency(size))
        self._loop.call_at(self._last, self._arrive, item, size, context=self._context)

    def _arrive(self, item: Any, size: int) -> None:
        if self._direction.is_blocked or self._stalled:
            if not self._stalled:
                self._direction.when_open(self._resume)
            self._stalled.append((item, size))
        else:
            self._accept(item, size)

    def _resume(self) -> None:
        self._loop.call_soon(self._flush, context=self._context)

    def _flush(self) -> None:
        while self._stalled and not self._direction.is_blocked:
            self._accept(*self._stalled.popleft())
        if self._stalled:
            self._direction.when_open(self._resume)

    def _accept(self, item: Any, size: int) -> None:
        # A connection can break while its bytes are under way.
        if self.is_broken:
            return
        self.unacknowledged -= size
        self._deliver(item)
        if self.on_progress:
            self.on_progress()
