"""Channel of the simulated log, which can return to an earlier state."""

from collections.abc import Callable, Collection

from realtime_bridge.model.event import Event
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.protocol.publishing.history import History

Change = tuple[float, int, Event | Lease]
"""Moment and Unix time in milliseconds of a change: a stored event, or a renewal."""


class StoredChannel:
    """History of a channel, and the changes that repeat it.

    Args:
        begin: creates the history without the changes.

    """

    def __init__(self, begin: Callable[[], History]) -> None:
        self.history: History = begin()
        self._begin = begin
        self._changes: list[Change] = []

    def append(self, event: Event, now: float, time: int) -> tuple[Receipt, Event | None]:
        """Store an event, unless its id is known or its key refuses it."""
        receipt, stored = self.history.append(event, now=now, time=time)
        if stored and not receipt.duplicate:
            self._changes.append((now, time, event))
        return receipt, stored

    def lapse(self, now: float, time: int, first: Collection[str]) -> list[Event]:
        """End the keys whose owners were silent for too long."""
        lapsed = self.history.lapse(now, time, first)
        self._changes.extend((now, time, event) for event in lapsed)
        return lapsed

    def renew(self, lease: Lease, now: float) -> Renewal:
        """Restart a lease."""
        renewal = self.history.renew(lease.key, lease.attempt, now)
        if not renewal.refused:
            self._changes.append((now, 0, lease))
        return renewal

    def without_tail(self, count: int) -> "StoredChannel":
        """Return the channel without its last events, and without what came after them."""
        changes = list(self._changes)
        while changes and count:
            *_, change = changes.pop()
            count -= isinstance(change, Event)
        earlier = StoredChannel(self._begin)
        for now, time, change in changes:
            if isinstance(change, Event):
                earlier.append(change, now, time)
            else:
                earlier.renew(change, now)
        return earlier
