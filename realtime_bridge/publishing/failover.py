"""Pushing through the first of several targets that works; all agree which through the log."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.log import Log
from realtime_bridge.backend.push import Backend, PushLimits
from realtime_bridge.errors import (
    BackendAuthError,
    BackendUnavailableError,
    PublishError,
    RateLimitedError,
)
from realtime_bridge.model.event import MAX_DATA_BYTES, Event
from realtime_bridge.protocol.publishing.circuit_breaker import CircuitBreaker, FailbackPolicy

CHANNEL = "@realtime.delivery"
"""Where it is written which carrier is in use; no client may listen to it."""

EVENT = "moved"

AGREED_SECONDS = 5.0
"""How long what the log said of it is believed, before it is asked again."""

PUSH_SECONDS = 3.0
"""How long one carrier may take, so that of a publish's 5 s some are left for the next."""

PROBE_SECONDS = 1.0
"""How long a try of the carrier that is wanted most may hold up a publish."""

_OURS = PushLimits(event_bytes=MAX_DATA_BYTES, events=500, channels=500)
_CARRIERS_FAULT = (BackendAuthError, BackendUnavailableError, RateLimitedError)
_logger = logging.getLogger("realtime_bridge.publishing")


@dataclass(frozen=True, slots=True)
class FailoverTarget:
    """A backend by its name; None is our own server, which delivers from the log by itself."""

    name: str
    backend: Backend | None


class Failover(Backend):
    """Gives a carrier up after five failed pushes in a row within 30 s, and goes on to the next.

    The first one is tried again with every so many events, and gone back to when it has taken them
    for a minute. What nobody took is in the log, so it is late, and not lost.

    Args:
        targets: in the order in which they are wanted.
        log: where processes agree on the one in use.
        clock: seconds that never go back.

    """

    def __init__(
        self,
        targets: Sequence[FailoverTarget],
        log: Log,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.targets = tuple(targets)
        self.active = self.targets[0]
        self._log = log
        self._clock = clock
        self._circuit = CircuitBreaker()
        self._return = FailbackPolicy()
        self._offset = 0
        self._agreed = float("-inf")
        self._exits = AsyncExitStack()

    def __str__(self) -> str:
        return " or ".join(carrier.name for carrier in self.targets)

    @property
    def limits(self) -> PushLimits:  # type: ignore[override]  # those of the carrier in use
        """What the carrier in use takes at once."""
        return self.active.backend.limits if self.active.backend else _OURS

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            for carrier in self.targets:
                if carrier.backend:
                    await exits.enter_async_context(carrier.backend)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._exits.aclose()

    async def check(self) -> list[CheckResult]:
        """Look at every carrier."""
        backends = [carrier.backend for carrier in self.targets if carrier.backend]
        return [finding for backend in backends for finding in await backend.check()]

    async def push(self, events: Sequence[Event]) -> None:
        """Push through the carrier in use, and the next one where that is given up."""
        await self.sync_active()
        try:
            await self._carry(events)
        except _CARRIERS_FAULT as error:
            if not self._circuit.failed(self._clock()):
                raise
            _logger.warning("%s is given up: %s", self.active.name, error)
            await self._move(self._next())
            await self._carry(events)
        self._circuit.succeeded()
        await self._probe(events)

    async def sync_active(self) -> bool:
        """Learn from the log which carrier is in use, and tell whether that has changed."""
        now = self._clock()
        if now - self._agreed < AGREED_SECONDS:
            return False
        self._agreed = now
        try:
            page = await self._log.latest(CHANNEL)
        except PublishError as error:
            _logger.warning("which carrier is in use cannot be learnt: %s", error)
            return False
        return bool(page.events) and self.switch_to(page.events[-1])

    def switch_to(self, event: Event) -> bool:
        """Go over to the carrier that an event of the log names, and tell whether it is another."""
        if event.position:
            self._offset = event.position.offset
        named = [carrier for carrier in self.targets if carrier.name == event.data["backend"]]
        if not named or named[0] is self.active:
            return False
        if self.active is self.targets[0]:
            self._return.left(self._clock())
        self.active = named[0]
        self._circuit.succeeded()
        _logger.warning("events are carried by %s now", self.active.name)
        return True

    def _next(self) -> FailoverTarget:
        return self.targets[(self.targets.index(self.active) + 1) % len(self.targets)]

    async def _carry(self, events: Sequence[Event]) -> None:
        backend = self.active.backend
        if backend is None:
            return
        try:
            async with asyncio.timeout(PUSH_SECONDS):
                await backend.push(events)
        except TimeoutError:
            raise BackendUnavailableError(
                f"{backend} did not take events within {PUSH_SECONDS:g} s"
            ) from None

    async def _probe(self, events: Sequence[Event]) -> None:
        """Hand these events to the first carrier too, where it is time to see if it works again."""
        first, now = self.targets[0], self._clock()
        if self.active is first or first.backend is None or not self._return.due(now):
            return
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await first.backend.push(events)
            well = True
        except (PublishError, TimeoutError):
            well = False
        if self._return.tried(now, well=well):
            await self._move(first)

    async def _move(self, to: FailoverTarget) -> None:
        """Write down which carrier is in use from now on, unless somebody else just has.

        Who saw the same before writes the same id, and of those the log takes the first.
        """
        seen = self._offset
        data = {"backend": to.name}
        moved = Event(channel=CHANNEL, event=EVENT, data=data, id=f"move-{seen}", key="backend")
        try:
            await self._log.append([moved])
        except PublishError as error:
            _logger.warning("the move to %s cannot be written down: %s", to.name, error)
            self.switch_to(moved)
            return
        self._agreed = float("-inf")
        await self.sync_active()
