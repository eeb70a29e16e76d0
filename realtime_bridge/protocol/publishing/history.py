"""Events of one channel in a log: bounded, contiguous, and idempotent."""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from itertools import islice

from msgspec.structs import replace

from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_BYTES, PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt, Renewal
from realtime_bridge.model.reset import Reset, ResetReason
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.latest_keys import LatestKeys
from realtime_bridge.protocol.publishing.owned_keys import KeyState

DAY = 86_400.0
METADATA_SECONDS = 7 * DAY
"""Seconds for which epoch, top and the latest event per key outlive the last append."""

UNUSED_SECONDS = 600.0
"""Seconds for which an epoch without an event is kept after it was read."""

MIN_IDS, ID_SECONDS, MAX_IDS = 1_000, 300.0, 100_000
"""Ids stored for idempotency: the last 1 000, or those of 5 minutes if more, bounded."""

EVENT_BYTES = 400
"""Memory of an event beside its data, in bytes: the object, its position, its id and entries of the
history's tables. CPython 3.11 allocates 380, and 180 more where it is its key's latest."""


def reset_reason(
    after: Position, top: Position, *, first: int, stored_id: str | None
) -> ResetReason | None:
    """Return the reason for which a log cannot continue a position; None where it can.

    Args:
        after: requested position.
        top: top of the channel.
        first: offset of the first stored event.
        stored_id: id of the stored event at `after`; None where none is stored.

    """
    if after.epoch != top.epoch:
        return "epoch"
    if after.offset > top.offset:
        return "ahead"
    if after.offset == top.offset:
        return _mismatch(after, top.id)
    if after.offset == 0:
        return None if first == 1 else "truncated"
    return _mismatch(after, stored_id) if stored_id is not None else "truncated"


NO_EVENTS: deque[Event] = deque(maxlen=0)
NO_IDS: dict[str, int] = {}
_NO_ORDER: deque[str] = deque(maxlen=0)
_NO_TIMES: deque[float] = deque(maxlen=0)
NO_KEYS = LatestKeys()
"""Values that channels without an event share: most channels are such, and cost little memory."""


class History:
    """Events of one channel; `now` is in seconds of a monotonic clock."""

    __slots__ = (
        "_bytes",
        "_events",
        "_id_times",
        "_ids",
        "_order",
        "_renewed_at",
        "_retention",
        "appended_at",
        "keys",
        "top",
    )

    def __init__(self, epoch: str, *, now: float, retention: Retention) -> None:
        self.top: Position = Position(epoch, 0)
        self._retention = retention
        self.appended_at: float = now
        """Time of the last append, or of the beginning."""
        self._events = NO_EVENTS
        self._bytes = 0
        self._ids = NO_IDS
        self._order = _NO_ORDER
        """Stored ids, oldest first."""
        self._id_times = _NO_TIMES
        """Times at which these ids were appended."""
        self.keys: LatestKeys = NO_KEYS
        """Latest event, or state, of each key."""
        self._renewed_at = now
        """Time of the last renewal of a lease, or of the beginning."""

    @property
    def size(self) -> int:
        """Memory of the stored events, in bytes; an event that is its key's latest counts twice."""
        count = len(self._events) + len(self.keys)
        return self._bytes + self.keys.size + count * EVENT_BYTES

    @property
    def is_unused(self) -> bool:
        """Return whether this epoch has no event."""
        return not self.top.offset

    def touch(self, now: float) -> None:
        """Keep an epoch without an event: another one would be a gap for its readers."""
        if self.is_unused:
            self.appended_at = now

    def rotated(self, epoch: str, *, now: float) -> "History":
        """Return the history of a new epoch, which begins with the latest event of each key.

        These events get the offsets from 1 on, as if they had been appended, and all but the last
        one trimmed. Their ids are not known: a publisher may append them again.
        """
        history = History(epoch, now=now, retention=self._retention)
        history.keys = LatestKeys()
        for key, latest in self.keys.values():
            if isinstance(latest, KeyState):
                group = [
                    history._store(event, now, event.time or 0)
                    for event in latest.group(with_parts=True)
                ]
                history.keys.put_moved(key, latest.moved(group))
            else:
                event, appended_at = latest
                history.keys.put_moved(
                    key, (history._store(event, now, event.time or 0), appended_at)
                )
        history.drop_events(keep=1)  # the event at the top: a client there is compared by its id
        history._forget_ids(now)
        return history

    def _forget_ids(self, now: float) -> None:
        self.appended_at = now
        self._ids, self._order, self._id_times = NO_IDS, _NO_ORDER, _NO_TIMES

    def drop_events(self, *, keep: int = 0) -> None:
        """Remove the oldest events except `keep`: a client that has not read them gets a reset."""
        while len(self._events) > keep:
            self._bytes -= len(self._events.popleft().body)

    def append(self, event: Event, now: float, time: int) -> tuple[Receipt, Event | None]:
        """Store an event at the next offset, unless its id is known or its key refuses it.

        Args:
            event: the event.
            now: seconds of the clock.
            time: milliseconds since the Unix epoch.

        Returns:
            The receipt, and the event to announce: none for a refused event, and for a duplicate
            of a trimmed one.

        """
        if now != self.appended_at or len(self._order) > MAX_IDS:  # else it has just run
            self.expire(now)
        if known := self._ids.get(event.id):
            position = Position(self.top.epoch, known, event.id)
            noted = self.keys.noted(event.key)
            receipt = Receipt(id=event.id, position=position, duplicate=True, noted=noted)
            return receipt, self._at(known)
        if event.write is not None or (event.key is not None and self.keys.states):
            return self._append_owned(event, now, time)
        stored = self._store(event, now, time)
        if event.key is not None:
            self.keys.store(event.key, stored, now, None)
        return Receipt(id=event.id, position=stored.position), stored

    def lapse(self, now: float, time: int, first: Collection[str] = ()) -> list[Event]:
        """End the keys whose owners were silent for longer than their leases; return the events.

        Every operation on the channel does this: an append after its own events, others before.

        Args:
            now: seconds of the clock.
            time: milliseconds since the Unix epoch.
            first: keys that come before the others.

        """
        if now < self.keys.lease_at:
            return []
        return [
            self._store_owned(state.lapse(self.top.offset + 1), now, time)
            for state in self.keys.due(now, first)
        ]

    def renew(self, key: str, attempt: str, now: float) -> Renewal:
        """Restart the lease of a key, if the attempt owns it."""
        renewal = self.keys.renew(key, attempt, now)
        if not renewal.refused:
            self._renewed_at = now
        return renewal

    def read(self, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return the events after a position, or a reset with the reason."""
        stored = self._at(after.offset)
        stored_id = stored.id if stored else None
        reason = reset_reason(after, self.top, first=self._first(), stored_id=stored_id)
        if reason:
            return Reset(reason=reason, top=self.top)
        count = self.top.offset - after.offset
        if count <= min(limit, PAGE_EVENTS) and self._bytes <= PAGE_BYTES:
            # Most clients are only a few events behind: no event is looked at.
            return Page(events=self._last(count), top=self.top)
        start = len(self._events) - count
        return self._page(((event,) for event in islice(self._events, start, None)), limit)

    def oldest(self, limit: int) -> Page:
        """Return the oldest stored events."""
        return self._page(((event,) for event in self._events), limit)

    def latest(self, *, after: int = 0, limit: int = PAGE_EVENTS, key: str | None = None) -> Page:
        """Return the latest event of each key beyond the offset `after`.

        Of a key with an owner, the events that describe its state: with `key` of that key alone
        and with all its items, else without items. They are never divided between two pages.
        """
        groups = self.keys.groups(after=after, key=key)
        return self._page(groups, limit)

    def expire(self, now: float) -> bool:
        """Remove events, ids and keys whose time is over; return whether the epoch is over too."""
        if self._events and now - self.appended_at > self._retention.seconds:
            self._events = NO_EVENTS
            self._bytes = 0
        if len(self._order) > MIN_IDS:
            self._remove_old_ids(now)
        if self.keys is not NO_KEYS:
            self.keys.expire(now - METADATA_SECONDS)
            if self.keys.states:
                used_at = max(self.appended_at, self._renewed_at)
                if now - used_at > self._retention.seconds:
                    self.keys.drop_contents()
        seconds = METADATA_SECONDS if self.top.offset else UNUSED_SECONDS
        return now - self.appended_at > seconds

    def _append_owned(self, event: Event, now: float, time: int) -> tuple[Receipt, Event | None]:
        refused = self.keys.refusal(event)
        stored = None if refused else self._store_owned(event, now, time)
        receipt = Receipt(
            id=event.id,
            position=stored.position if stored else None,
            refused=refused,
            noted=self.keys.noted(event.key),
        )
        return receipt, stored

    def _store_owned(self, event: Event, now: float, time: int) -> Event:
        assert event.key is not None
        stored = self._store(event, now, time)
        self.keys.store(event.key, stored, now, event.write)
        return stored

    def _store(self, event: Event, now: float, time: int) -> Event:
        """Store an event at the next offset, and return it with its position and time."""
        position = self.top.next(event.id)
        stored = replace(event, position=position, time=time)
        if event.write is not None:
            stored = replace(stored, write=event.write.delivered)
        events = self._events
        if events is NO_EVENTS:
            events = self._events = deque()
        if self._ids is NO_IDS:
            self._ids, self._order, self._id_times = {}, deque(), deque()
        if event.key is not None and self.keys is NO_KEYS:
            self.keys = LatestKeys()
        size = self._bytes + len(event.body)
        try:
            events.append(stored)
            self._order.append(event.id)
            self._id_times.append(now)
            self._ids[event.id] = position.offset
        except MemoryError:
            self._undo(stored)
            raise
        self._bytes = size
        self.top = position
        self.appended_at = now
        self._trim()
        return stored

    def _trim(self) -> None:
        """Remove the oldest events beyond the limits."""
        events, limit = self._events, self._retention
        # The last event stays, whatever its size: a client at the top before it can recover.
        while (len(events) > limit.events or self._bytes > limit.bytes) and len(events) > 1:
            self._bytes -= len(events.popleft().body)

    def _undo(self, stored: Event) -> None:
        """Remove the event that could not be stored as a whole: its id must stay unknown."""
        if self._events and self._events[-1] is stored:
            self._events.pop()
        for table in (self._order, self._id_times):
            while len(table) > len(self._ids):
                table.pop()

    def _remove_old_ids(self, now: float) -> None:
        while len(self._order) > MIN_IDS:
            if len(self._order) <= MAX_IDS and now - self._id_times[0] <= ID_SECONDS:
                return
            self._id_times.popleft()
            del self._ids[self._order.popleft()]

    def _first(self) -> int:
        return self.top.offset - len(self._events) + 1

    def _last(self, count: int) -> tuple[Event, ...]:
        """Return the last events, from the end of the deque: it is a list of blocks."""
        return tuple(islice(reversed(self._events), count))[::-1]

    def _at(self, offset: int) -> Event | None:
        index = offset - self._first()
        return self._events[index] if 0 <= index < len(self._events) else None

    def _page(self, groups: Iterable[Sequence[Event]], limit: int) -> Page:
        page: list[Event] = []
        size = 0
        for group in groups:
            size += sum(len(event.body) for event in group)
            count = len(page) + len(group)
            if page and (count > min(limit, PAGE_EVENTS) or size > PAGE_BYTES):
                return Page(events=tuple(page), top=self.top, more=True)
            page += group
        return Page(events=tuple(page), top=self.top)


def _mismatch(asked: Position, stored_id: str | None) -> ResetReason | None:
    return "regressed" if asked.id is not None and asked.offset and asked.id != stored_id else None
