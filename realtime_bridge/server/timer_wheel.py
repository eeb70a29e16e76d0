"""One timer for all connections: each is woken at about the moment it asked for."""

import asyncio
import time
from abc import ABC, abstractmethod

_NEVER = float("inf")

SLOT_SECONDS = 0.05
"""How much too late somebody may be woken; never too early."""


class TimerTarget(ABC):
    """Whoever wants to be woken."""

    __slots__ = ("slot",)

    def __init__(self) -> None:
        self.slot: _Slot | None = None

    @abstractmethod
    def wake(self) -> None:
        """Do what is due; ask anew for the next time."""


class _Slot(dict[TimerTarget, None]):
    """Those who are woken together; they hold it, which costs less than a number each."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class TimerWheel:
    """Sleepers by the slot of time in which they are woken. Moments are `time.monotonic()`'s."""

    def __init__(self) -> None:
        self._slots: dict[int, _Slot] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0

    def wake_at(self, moment: float, sleeper: TimerTarget) -> None:
        """Wake `sleeper` then, and not when it asked to be woken before; infinity is never."""
        if moment == _NEVER:
            self.forget(sleeper)
            return
        number = -int(-moment // SLOT_SECONDS)
        if sleeper.slot is not None and sleeper.slot.number == number:
            return
        self.forget(sleeper)
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = _Slot(number)
            self._set_timer()
        slot[sleeper] = None
        sleeper.slot = slot

    def forget(self, sleeper: TimerTarget) -> None:
        """Let one sleep for ever."""
        if sleeper.slot is not None:
            del sleeper.slot[sleeper]
        sleeper.slot = None

    def _set_timer(self) -> None:
        """Be there for the earliest slot."""
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
        passed = int(time.monotonic() // SLOT_SECONDS)
        for number in [number for number in self._slots if number <= passed]:
            slot = self._slots.pop(number)
            while slot:
                sleeper, _ = slot.popitem()
                sleeper.slot = None
                sleeper.wake()
        if self._slots and self._timer is None:
            self._set_timer()
