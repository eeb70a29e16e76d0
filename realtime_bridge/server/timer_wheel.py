"""Timer that all connections share: it wakes each at about the requested moment."""

import asyncio
import logging
import time
from typing import Protocol

_logger = logging.getLogger("realtime_bridge.server")

_NEVER = float("inf")

SLOT_SECONDS = 0.05
"""The most that a target is woken too late; it is never woken too early."""


class TimerTarget(Protocol):
    """Object that the wheel wakes."""

    slot: "Slot | None"
    """Slot in which the target is woken; None at first."""

    def wake(self) -> None:
        """Do the work that is due, and request the next moment."""


class Slot(dict[TimerTarget, None]):
    """Targets that are woken together.

    Targets refer to their slot, which costs less memory than a number in each of them.
    """

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number: int = number


class TimerWheel:
    """Targets by the slot of time in which they are woken, in seconds of `time.monotonic()`.

    One timer of the event loop serves all targets: a timer each costs several hundred bytes.
    """

    def __init__(self) -> None:
        self._slots: dict[int, Slot] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0

    def wake_at(self, moment: float, target: TimerTarget) -> None:
        """Wake `target` at this moment instead of the one before; infinity is never."""
        if moment == _NEVER:
            self.cancel(target)
            return
        number = -int(-moment // SLOT_SECONDS)
        if target.slot is not None:
            if target.slot.number == number:
                return
            self.cancel(target)
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = Slot(number)
            self._set_timer()
        slot[target] = None
        target.slot = slot

    def cancel(self, target: TimerTarget) -> None:
        """Cancel the wake-up of a target."""
        if target.slot is not None:
            del target.slot[target]
        target.slot = None

    def _wake(self, target: TimerTarget) -> None:
        try:
            target.wake()
        except Exception:
            # One target's failure must not stop the timer of all others.
            _logger.exception("timer target failed target=%s", type(target).__name__)

    def _set_timer(self) -> None:
        """Set the event loop's timer to the earliest slot."""
        earliest = min(self._slots)
        if self._timer:
            if self._next == earliest:
                return
            self._timer.cancel()
        self._next = earliest
        wait = max(0.0, earliest * SLOT_SECONDS - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(wait, self._turn)

    def _turn(self) -> None:
        self._timer = None
        current = int(time.monotonic() // SLOT_SECONDS)
        for number in [number for number in self._slots if number <= current]:
            slot = self._slots.pop(number)
            # A target that wakes can cancel others of its slot, so each is taken out one by one.
            while slot:
                target, _ = slot.popitem()
                target.slot = None
                self._wake(target)
        if self._slots and self._timer is None:
            self._set_timer()
