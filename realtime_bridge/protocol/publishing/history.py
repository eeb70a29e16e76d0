"""What a log remembers of one channel: bounded, contiguous, and idempotent."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from itertools import islice

from msgspec import Struct

from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_BYTES, PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset, ResetReason
from realtime_bridge.model.retention import Retention

DAY = 86_400.0
METADATA_SECONDS = 7 * DAY
"""How long epoch, top and the latest event per key outlive the last append."""

UNUSED_SECONDS = 600.0
"""How long an epoch without any event is kept."""

MIN_IDS, ID_SECONDS, MAX_IDS = 1_000, 300.0, 100_000
"""Ids known for idempotency: the last 1 000 or 5 minutes' worth, whichever is more, bounded."""

MAX_KEYS, MAX_KEY_BYTES = 1_000, 1024 * 1024
"""The latest events kept per channel, one a key."""


class Appended(Struct, frozen=True, gc=False):
    """What an append gives back, and the event to announce (none when a duplicate was trimmed)."""

    receipt: Receipt
    announced: Event | None


def discontinuity(
    after: Position, top: Position, *, first: int, held: str | None
) -> ResetReason | None:
    """Tell why what a log holds does not continue a position; None where it does.

    Args:
        after: the position that is asked for.
        top: where the channel stands.
        first: the offset of the first event that is kept.
        held: the id of the event that is kept at `after`, if one is.

    """
    if after.epoch != top.epoch:
        return "epoch"
    if after.offset > top.offset:
        return "ahead"
    if after.offset == top.offset:
        return _mismatch(after, top.id)
    if after.offset == 0:
        return None if first == 1 else "truncated"
    return _mismatch(after, held) if held is not None else "truncated"


_NO_EVENTS: deque[Event] = deque(maxlen=0)
_NO_IDS: dict[str, int] = {}
_NO_ORDER: deque[str] = deque(maxlen=0)
_NO_TIMES: deque[float] = deque(maxlen=0)
_NO_LATEST: OrderedDict[str, tuple[Event, float]] = OrderedDict()
"""What channels without any event share: most are such, and they shall cost little."""


class History:
    """One channel's events. `now` is in seconds of a clock that never goes back."""

    __slots__ = (
        "_bytes",
        "_came",
        "_events",
        "_ids",
        "_key_bytes",
        "_latest",
        "_order",
        "_retention",
        "_touched",
        "top",
    )

    def __init__(self, epoch: str, *, now: float, retention: Retention) -> None:
        self.top = Position(epoch, 0)
        self._retention = retention
        self._touched = now
        self._events = _NO_EVENTS
        self._bytes = 0
        self._ids = _NO_IDS
        self._order = _NO_ORDER
        """The known ids, oldest first."""
        self._came = _NO_TIMES
        """When each of these ids came."""
        self._latest = _NO_LATEST
        self._key_bytes = 0

    def append(self, event: Event, *, now: float, time: int) -> Appended:
        """Number and keep `event`, unless its id is known; `time` is in Unix milliseconds."""
        if now != self._touched or len(self._order) > MAX_IDS:  # else we have just looked
            self.expire(now)
        if known := self._ids.get(event.id):
            place = Position(self.top.epoch, known, event.id)
            return Appended(Receipt(id=event.id, position=place, duplicate=True), self._at(known))
        place = self.top.next(event.id)
        stored = event.with_position(place, time)
        self._keep(stored, place, now)
        return Appended(Receipt(id=event.id, position=place), stored)

    def read(self, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return what follows `after`, or why it cannot be continued."""
        there = self._at(after.offset)
        held = there.id if there else None
        reason = discontinuity(after, self.top, first=self._first(), held=held)
        if reason:
            return Reset(reason=reason, top=self.top)
        start = len(self._events) - (self.top.offset - after.offset)
        return self._page(islice(self._events, start, None), limit)

    def latest(self, *, after: int = 0, limit: int = PAGE_EVENTS) -> Page:
        """Return the latest event of each key beyond offset `after`."""
        newest = (event for event, _ in self._latest.values() if _offset(event) > after)
        return self._page(newest, limit)

    def expire(self, now: float) -> None:
        """Forget what has outlived its time."""
        if self._events and now - self._touched > self._retention.seconds:
            self._events = _NO_EVENTS
            self._bytes = 0
        if len(self._order) > MIN_IDS:
            self._forget_ids(now)
        while self._latest and now - self._oldest_key()[1] > METADATA_SECONDS:
            self._evict_key()

    def dead(self, now: float) -> bool:
        """Tell whether even the epoch may be forgotten."""
        kept = METADATA_SECONDS if self.top.offset else UNUSED_SECONDS
        return now - self._touched > kept

    def _keep(self, event: Event, place: Position, now: float) -> None:
        if self._events is _NO_EVENTS:
            self._events = deque()
        if self._ids is _NO_IDS:
            self._ids, self._order, self._came = {}, deque(), deque()
        self.top = place
        self._touched = now
        self._events.append(event)
        self._bytes += len(event.body)
        self._ids[event.id] = place.offset
        self._order.append(event.id)
        self._came.append(now)
        if event.key is not None:
            self._keep_latest(event.key, event, now)
        if len(self._events) > self._retention.events or self._bytes > self._retention.bytes:
            self._trim()

    def _trim(self) -> None:
        events, kept = self._events, self._retention
        while len(events) > 1 and (len(events) > kept.events or self._bytes > kept.bytes):
            self._bytes -= len(events.popleft().body)

    def _keep_latest(self, key: str, event: Event, now: float) -> None:
        if self._latest is _NO_LATEST:
            self._latest = OrderedDict()
        replaced = self._latest.pop(key, None)
        if replaced:
            self._key_bytes -= len(replaced[0].body)
        self._latest[key] = (event, now)
        self._key_bytes += len(event.body)
        while len(self._latest) > MAX_KEYS or self._key_bytes > MAX_KEY_BYTES:
            self._evict_key()

    def _oldest_key(self) -> tuple[Event, float]:
        return next(iter(self._latest.values()))

    def _evict_key(self) -> None:
        _, (event, _) = self._latest.popitem(last=False)
        self._key_bytes -= len(event.body)

    def _forget_ids(self, now: float) -> None:
        while len(self._order) > MIN_IDS:
            if len(self._order) <= MAX_IDS and now - self._came[0] <= ID_SECONDS:
                return
            self._came.popleft()
            del self._ids[self._order.popleft()]

    def _first(self) -> int:
        return self.top.offset - len(self._events) + 1

    def _at(self, offset: int) -> Event | None:
        index = offset - self._first()
        return self._events[index] if 0 <= index < len(self._events) else None

    def _page(self, events: Iterable[Event] | Iterator[Event], limit: int) -> Page:
        taken: list[Event] = []
        size = 0
        for event in events:
            size += len(event.body)
            if len(taken) >= min(limit, PAGE_EVENTS) or (taken and size > PAGE_BYTES):
                return Page(events=tuple(taken), top=self.top, more=True)
            taken.append(event)
        return Page(events=tuple(taken), top=self.top)


def _offset(event: Event) -> int:
    assert event.position
    return event.position.offset


def _mismatch(asked: Position, held: str | None) -> ResetReason | None:
    return "regressed" if asked.id is not None and asked.offset and asked.id != held else None
