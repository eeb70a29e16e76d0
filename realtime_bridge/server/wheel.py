"""One timer for all connections: each is woken at about the moment it asked for."""

import asyncio
import time
from abc import ABC, abstractmethod

SLOT_SECONDS = 0.05
"""How much too late somebody may be woken; never too early."""

_NEVER = -1


class Sleeper(ABC):
    """Whoever wants to be woken."""

    __slots__ = ("slot",)

    def __init__(self) -> None:
        self.slot = _NEVER

    @abstractmethod
    def wake(self) -> None:
        """Do what is due; ask anew for the next time."""


class Wheel:
    """Sleepers by the slot of time in which they are woken. Moments are `time.monotonic()`'s."""

    def __init__(self) -> None:
        self._slots: dict[int, set[Sleeper]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = _NEVER

    def wake_at(self, moment: float, sleeper: Sleeper) -> None:
        """Wake `sleeper` then, and not when it asked to be woken before; infinity is never."""
        slot = _NEVER if moment == float("inf") else -int(-moment // SLOT_SECONDS)
        if slot == sleeper.slot:
            return
        self.forget(sleeper)
        if slot == _NEVER:
            return
        sleeper.slot = slot
        sleepers = self._slots.get(slot)
        if sleepers is None:
            sleepers = self._slots[slot] = set()
            self._set_timer()
        sleepers.add(sleeper)

    def forget(self, sleeper: Sleeper) -> None:
        """Let one sleep for ever."""
        if sleepers := self._slots.get(sleeper.slot):
            sleepers.discard(sleeper)
        sleeper.slot = _NEVER

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
        for slot in [slot for slot in self._slots if slot <= passed]:
            for sleeper in self._slots.pop(slot):
                sleeper.slot = _NEVER
                sleeper.wake()
        if self._slots and self._timer is None:
            self._set_timer()
