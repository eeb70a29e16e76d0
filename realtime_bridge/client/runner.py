"""The state machine in real time: its clock, random numbers, timer and status."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from realtime_bridge.client.subscription_set import SubscriptionSet
from realtime_bridge.protocol.client.commands import Command, Mode
from realtime_bridge.protocol.client.machine import Machine
from realtime_bridge.protocol.client.status import Status

SETTLED = ("realtime", "error", "paused")
"""Kinds of status that time alone does not change."""

_logger = logging.getLogger("realtime_bridge.client")


class ClientRunner:
    """Runs a machine: all inputs of one message or response are settled together.

    Args:
        machine: State machine of the client.
        channels: Channels of the client.
        on_status: Called with the status whenever it changes.

    """

    def __init__(
        self,
        machine: Machine,
        channels: SubscriptionSet,
        *,
        on_status: Callable[[Status], None] | None,
    ) -> None:
        self.machine = machine
        self.is_over: asyncio.Event = asyncio.Event()
        """Set when the machine has come to rest."""
        self._channels = channels
        self._on_status = on_status
        self._perform: Callable[[Command], None] | None = None
        self._is_batching = False
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0
        self._expected = 0.0
        self._last_status = machine.connection_status(_now())

    @property
    def status(self) -> Status:
        """Status now."""
        return self.machine.connection_status(_now())

    def start(self, perform: Callable[[Command], None]) -> None:
        """Start the machine; `perform` does what a command asks for."""
        self._perform = perform
        self.batch(self.machine.start)

    def stop(self) -> None:
        """Ignore every further input."""
        self._perform = None
        if self._timer:
            self._timer.cancel()

    def batch(self, handle: Callable[..., None], *args: Any) -> None:
        """Call a function that gives the machine inputs, then settle them once.

        A batch within a batch joins it. After `stop`, nothing is called.
        """
        if self._perform is None:
            return
        if self._is_batching:
            handle(*args)
            return
        now, before = _now(), self.machine.mode
        self.machine.now, self.machine.draw = now, random.random()  # noqa: S311 -- it spreads clients
        self._is_batching = True
        try:
            handle(*args)
        finally:
            self._is_batching = False
        self._settle(now, before, self._perform)

    def _settle(self, now: int, before: Mode, perform: Callable[[Command], None]) -> None:
        machine, channels = self.machine, self._channels
        machine.sync_changed(ok=not channels.behind, unpushed=len(channels.unpushed))
        commands, current = machine.take_commands(), machine.connection_status(now)
        self._set_timer(now, machine.wake_at, is_settled=current.kind in SETTLED)
        if machine.mode != before:
            self._on_mode_changed(before)
        for command in commands:
            perform(command)
        if current != self._last_status:
            self._last_status = current
            if self._on_status:
                self._on_status(current)

    def _on_mode_changed(self, before: Mode) -> None:
        mode, reason = self.machine.mode, self.machine.reason
        _logger.info("mode changed: from=%s to=%s reason=%r", before, mode, reason)
        if mode in ("DENIED", "STOPPED"):
            self.is_over.set()

    def _set_timer(self, now: int, wake_at: int | None, *, is_settled: bool) -> None:
        """Set the timer to the next tick, or the next look at the status and the clock."""
        if wake_at is None:
            return
        timing = self.machine.timing
        wake_at = min(wake_at, now + (timing.timer_max if is_settled else timing.status_interval))
        if self._timer:
            # A tick that comes too early is harmless, so only an earlier time replaces the timer.
            if self._due <= wake_at:
                return
            self._timer.cancel()
        wait = max(0, wake_at - now) / 1_000
        self._due, self._expected = wake_at, time.time() + wait
        self._timer = asyncio.get_running_loop().call_later(wait, self._fire)

    def _fire(self) -> None:
        self._timer = None
        # The monotonic clock of Linux stands still while a computer sleeps; this clock does not.
        if time.time() - self._expected > self.machine.timing.clock_jump / 1_000:
            self.batch(self.machine.resumed)
        self.batch(self.machine.tick)


def _now() -> int:
    return time.monotonic_ns() // 1_000_000
