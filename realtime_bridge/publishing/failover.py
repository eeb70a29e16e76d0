"""Failover between push backends; processes agree on the active one through the log."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import orjson
from msgspec import Struct
from msgspec.structs import replace

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.log import Log
from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.backend.push import Backend, PushLimits
from realtime_bridge.errors import (
    BackendAuthError,
    BackendUnavailableError,
    PublishError,
    RateLimitedError,
)
from realtime_bridge.model.channel import CONTROL
from realtime_bridge.model.event import Event
from realtime_bridge.model.event_data import MAX_DATA_BYTES
from realtime_bridge.protocol.publishing.circuit_breaker import CircuitBreaker, FailbackPolicy
from realtime_bridge.publishing.timing import FailoverTiming

CHANNEL = f"{CONTROL}.delivery"
"""Channel of the log that records the active target; clients may not subscribe to it."""

EVENT = "moved"

_OWN_SERVER_LIMITS = PushLimits(event_bytes=MAX_DATA_BYTES, events=500, channels=500)
_TARGET_FAILURES = (BackendAuthError, BackendUnavailableError, RateLimitedError)
_TIMING = FailoverTiming()
_logger = logging.getLogger("realtime_bridge.publishing")


class FailoverTarget(Struct, frozen=True):
    """Backend by its name; None is our own server, which delivers from the log by itself."""

    name: str
    backend: Backend | None


class Failover(Backend):
    """Push backend that switches to the next target after five failures in a row within 30 s.

    It probes the first target with some of the events, and fails back when that has accepted
    them for a minute. An event that no target accepted is in the log: it is late, not lost.

    Args:
        targets: backends in order of preference.
        log: records the active target for all processes.
        clock: monotonic clock, in seconds.
        timing: durations of pushes, probes and of the record's age.

    """

    def __init__(
        self,
        targets: Sequence[FailoverTarget],
        log: Log,
        *,
        clock: Callable[[], float] = time.monotonic,
        timing: FailoverTiming = _TIMING,
    ) -> None:
        self.targets: tuple[FailoverTarget, ...] = tuple(targets)
        self.active: FailoverTarget = self.targets[0]
        self._log = log
        self._clock = clock
        self._timing = timing
        self._circuit_breaker = CircuitBreaker()
        self._failback = FailbackPolicy()
        self._former: FailoverTarget | None = None
        """Target before a planned switch, to which clients listen for some more seconds."""
        self._former_until = float("-inf")
        self._record_offset = 0
        self._synced_at = float("-inf")
        self._sync_outage = OutageLog(
            _logger, "active push target unknown", "active push target known again"
        )
        self._probe_outage = OutageLog(_logger, "probe failed", "probes are accepted again")
        self._exits = AsyncExitStack()

    def __str__(self) -> str:
        return " or ".join(target.name for target in self.targets)

    @property
    def limits(self) -> PushLimits:  # type: ignore[override]  # they change with the target
        """Limits of the active target; streams have the pace of the slowest one."""
        backends = [target.backend for target in self.targets if target.backend]
        own = self.active.backend.limits if self.active.backend else _OWN_SERVER_LIMITS
        paces = (backend.limits.stream_seconds for backend in backends)
        return replace(own, stream_seconds=max(paces, default=own.stream_seconds))

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            for target in self.targets:
                if target.backend:
                    await exits.enter_async_context(target.backend)
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
        """Check every target."""
        backends = [target.backend for target in self.targets if target.backend]
        return [result for backend in backends for result in await backend.check()]

    async def push(self, events: Sequence[Event]) -> None:
        """Push through the active target, and through the next one after too many failures.

        Raises:
            PublishError: the target did not accept the events.

        """
        # First, so that a process without failures of its own follows the others.
        await self.sync_active()
        try:
            await self._push_to_active(events)
        except _TARGET_FAILURES as error:
            # A single failure is the publish's own: the log has the event, recovery delivers it.
            if not self._circuit_breaker.record_failure(self._clock()):
                raise
            _logger.warning("push target failed target=%s error=%r", self.active.name, str(error))
            await self._announce(self._next_target())
            await self._push_to_active(events)
        self._circuit_breaker.record_success()
        await self._push_to_former(events)
        await self._probe_first(events)

    async def sync_active(self) -> bool:
        """Read the active target from the log, and return whether it has changed."""
        now = self._clock()
        if now - self._synced_at < self._timing.sync_seconds:
            return False
        # Set before the read: concurrent publishes do not read the record again.
        self._synced_at = now
        try:
            page = await backend_call(self._log, self._log.latest, CHANNEL)
        except PublishError as error:
            self._sync_outage.failed(error)
            return False
        self._sync_outage.works()
        return bool(page.events) and self.switch_to(page.events[-1])

    def switch_to(self, event: Event) -> bool:
        """Switch to the target that a record of the log names; return whether it is another."""
        is_new = event.position is not None and event.position.offset != self._record_offset
        if event.position:
            self._record_offset = event.position.offset
        data = event.data
        name = data.get("backend") if isinstance(data, dict) else None
        # A record may name a target of a newer configuration, and another program may have written
        # it: this process stays where it is.
        named = [target for target in self.targets if target.name == name]
        if not named and is_new:
            _logger.warning("record of the active push target ignored target=%r", name)
        if not named or named[0] is self.active:
            return False
        if self.active is self.targets[0]:
            self._failback.record_switch(self._clock())
        if named[0] is self.targets[0]:
            # Planned: the former target works, and clients leave it within half a minute.
            self._former = self.active
            self._former_until = self._clock() + self._timing.both_seconds
        self.active = named[0]
        self._circuit_breaker.record_success()
        _logger.warning("push target changed target=%s", self.active.name)
        return True

    def _next_target(self) -> FailoverTarget:
        return self.targets[(self.targets.index(self.active) + 1) % len(self.targets)]

    async def _push_to_active(self, events: Sequence[Event]) -> None:
        backend, seconds = self.active.backend, self._timing.push_seconds
        if backend is None:
            return
        try:
            async with asyncio.timeout(seconds):
                await backend_call(backend, backend.push, events)
        except TimeoutError:
            raise BackendUnavailableError(
                f"{backend} did not accept events within {seconds:g} s: check that it can be "
                "reached"
            ) from None

    async def _push_to_former(self, events: Sequence[Event]) -> None:
        """Push the events through the former target too, while clients still listen there."""
        former = self._former
        if former is None:
            return
        if former is self.active or self._clock() >= self._former_until:
            self._former = None
        elif former.backend:
            try:
                async with asyncio.timeout(self._timing.probe_seconds):
                    await backend_call(former.backend, former.backend.push, events)
            except (PublishError, TimeoutError) as error:
                # The events are not lost: these clients fetch them from the log.
                _logger.info("push to former target failed target=%s error=%r", former.name, error)

    async def _probe_first(self, events: Sequence[Event]) -> None:
        """Push the events through the first target too, when a probe is due."""
        first, now = self.targets[0], self._clock()
        if self.active is first or first.backend is None or not self._failback.is_due(now):
            return
        try:
            async with asyncio.timeout(self._timing.probe_seconds):
                await backend_call(first.backend, first.backend.push, events)
            accepted = True
            self._probe_outage.works()
        except (PublishError, TimeoutError) as error:
            accepted = False
            self._probe_outage.failed(error, target=first.name)
        if self._failback.record_probe(now, accepted=accepted):
            await self._announce(first)

    async def _announce(self, target: FailoverTarget) -> None:
        """Record the new active target in the log, unless another process was first."""
        # Processes that saw the same record write the same id: the log keeps the first of them.
        data = orjson.dumps({"backend": target.name})
        record = Event.internal(
            CHANNEL, EVENT, data, id=f"move-{self._record_offset}", key="backend"
        )
        try:
            await backend_call(self._log, self._log.append, [record])
        except PublishError as error:
            _logger.warning(
                "push target change not recorded target=%s error=%r", target.name, str(error)
            )
            self.switch_to(record)
            return
        # Read back: the record of another process may have been first.
        self._synced_at = float("-inf")
        await self.sync_active()
