"""State of a stream on its writer's side: what is published next, and what the log accepted."""

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import Any, Literal

from msgspec import Struct

from realtime_bridge.errors import (
    InvalidEventError,
    StreamFullError,
    StreamStoppedError,
    StreamSupersededError,
)
from realtime_bridge.model.event import Event
from realtime_bridge.model.event_data import MAX_DATA_BYTES
from realtime_bridge.model.key_write import KeyWrite, Refusal
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.protocol.streams.snapshot import ENDED, PART, STARTED, stream_key

StreamFormat = Literal["text", "json", "ui-message", "ag-ui"]
WriterState = Literal["open", "completed", "failed", "stopped"]

PART_BYTES = 8 * 1024
"""Bytes of items at which a part is published at once, and most bytes of a part of several items:
with its envelope it fits into Pusher's 10 240."""

WAITING_BYTES = 1024 * 1024
"""Most bytes of items that wait for a log that does not answer."""

LEASE = 30
"""Seconds of silence after which the log ends the stream of a writer."""


class _Part(Struct, frozen=True, gc=False):
    """Event in flight, and the number of items in it."""

    event: Event
    items: int


class StreamState:
    """Decisions of one writer; times are in seconds of a monotonic clock.

    Args:
        channel: channel of the stream.
        stream: id of the stream.
        attempt: name of this run.
        nonce: beginning of the ids of events, random for each process.
        format: form of the items.
        meta: JSON value for readers.
        pace: shortest time between two parts.
        limit: most bytes of an event's data.

    """

    def __init__(
        self,
        channel: str,
        stream: str,
        *,
        attempt: str,
        nonce: str,
        format: StreamFormat,  # noqa: A002 -- the field's name on the wire
        meta: Any,
        pace: float,
        limit: int = MAX_DATA_BYTES,
    ) -> None:
        self.state: WriterState = "open"
        self.stream: str = stream
        self.attempt: str = attempt
        self.format: StreamFormat = format
        self._channel, self._nonce, self._meta, self._pace = channel, nonce, meta, pace
        self._key, self._append = stream_key(stream), KeyWrite("append", attempt)
        self._limit, self._part_bytes = limit - 2, min(PART_BYTES, limit - 2)
        """Most bytes of one item, and of a part's items: an event has two brackets around them."""
        self._items: list[bytes] = []
        """All items, as JSON."""
        self._accepted = self._sent = 0
        """Number of the first items that the log has; and with those that are in flight."""
        self._waiting_bytes = self._count = 0
        """Bytes of the items that wait; and the number of events so far, for their ids."""
        self._beginning: Literal["always", "absent", "own"] | None = "always"
        """Condition of the take-over at the beginning that comes next; `own`: no take-over."""
        self._epoch: str | None = None
        """Epoch of the last accepted event: another one shows that the log may have lost some."""
        self._end: dict[str, Any] = {}
        self._has_end = False
        """True while the end waits to be published."""
        self._in_flight: list[_Part] = []
        self._next_at = 0.0
        self._refused: Refusal | None = None

    @property
    def items(self) -> list[bytes]:
        """Items that the log has accepted, as JSON."""
        return self._items[: self._accepted]

    @property
    def is_done(self) -> bool:
        """True if nothing is left to publish, and nothing may be added."""
        if self._in_flight:
            return False
        is_over = self.state == "stopped" or self._refused == "superseded"
        return is_over or (self.state != "open" and not self._has_end)

    def begin(self, group: Iterable[Event]) -> None:
        """Begin with the state of the key: what a person stopped stays stopped."""
        for event in group:
            if event.fold == "end" and _state_of(event) == "stopped":
                self.state = "stopped"

    def add(self, item: bytes) -> None:
        """Add an item, as JSON.

        Raises:
            StreamStoppedError: the stream was stopped, or has ended here.
            StreamSupersededError: another attempt took the stream over.
            StreamFullError: the stream has its most bytes, or as many wait for the log.
            InvalidEventError: the item is larger than an event may be.

        """
        self.check()
        if len(item) > self._limit:
            raise InvalidEventError(
                f"The item has {len(item):,} bytes, over the limit of {self._limit:,}: "
                "append less, or raise REALTIME_LIMIT_EVENT_BYTES"
            )
        if self._refused == "full" or self._waiting_bytes + len(item) > WAITING_BYTES:
            raise StreamFullError(
                f"Stream {self.stream} is full: end it, and go on in another stream"
            )
        self._items.append(item)
        self._waiting_bytes += len(item)

    def check(self) -> None:
        """Check that the stream may go on.

        Raises:
            StreamStoppedError: as for `add`.
            StreamSupersededError: as for `add`.

        """
        if self._refused == "superseded":
            raise StreamSupersededError(
                f"Another attempt took over stream {self.stream}: end this one"
            )
        if self.state != "open":
            raise StreamStoppedError(f"Stream {self.stream} is {self.state}: add nothing more")

    def end(self, state: Literal["completed", "failed"], error: str | None = None) -> None:
        """End the stream, unless it is over."""
        if self.state == "open" and self._refused != "superseded":
            self.state = state
            self._end = _end(self.stream, state, error)
            self._has_end = True

    def wake_at(self) -> float | None:
        """Return the time of the next batch; None while there is nothing to publish."""
        if self._in_flight or self.state == "stopped" or self._refused == "superseded":
            return None
        if self._beginning or self._has_end or self._waiting_bytes >= self._part_bytes:
            return 0.0
        return self._next_at if self._sent < len(self._items) else None

    def look_at(self, now: float) -> float:
        """Return the time until which the writer sleeps, unless an item makes `wake_at` earlier.

        After a part it is the end of the pace, also while nothing waits: the items of that time
        need no wake-up. Infinity is the time of the next item.
        """
        at = self.wake_at()
        if at is None:
            return self._next_at if self._next_at > now else inf
        return at

    def next_batch(self, now: float) -> list[Event]:
        """Return the next events; they are in flight until `accept` or `retry`."""
        at = self.wake_at()
        if at is None or at > now:
            return []
        self._next_at = now + self._pace
        self._in_flight = [*self._started(), *self._parts(), *self._ended()]
        return [part.event for part in self._in_flight]

    def batch_again(self) -> list[Event]:
        """Return the events in flight once more: their ids keep them from being appended twice."""
        return [part.event for part in self._in_flight]

    def accept(self, receipts: Sequence[Receipt]) -> None:
        """Process the answers to the events in flight, in their order."""
        sent, self._in_flight = self._in_flight, []
        refusals = {receipt.refused for receipt in receipts if receipt.refused}
        if "gone" in refusals:
            self._refill("absent")
            return
        for part, receipt in zip(sent, receipts, strict=True):
            if not receipt.refused:
                self._accepted += part.items
        self._refuse(refusals)
        if self._is_moved(receipts) and not refusals and self.state == "open":
            # The log was rolled back: it may lack items before these.
            self._refill("own")

    def give_up(self) -> None:
        """Publish nothing more: the log can never take the events in flight."""
        self.state, self._has_end, self._in_flight = "failed", False, []
        self._sent, self._beginning = len(self._items), None

    def notice(self, refused: str | None) -> None:
        """Process the answer to a renewal of the lease."""
        if refused in ("ended", "superseded") and not self._in_flight:
            self._refuse({refused})

    def _refuse(self, refusals: set[Any]) -> None:
        for refused in ("full", "ended", "superseded"):
            if refused in refusals:
                self._refused = refused
        if self._refused == "full":
            del self._items[self._accepted :]
            self._sent, self._waiting_bytes = self._accepted, 0
        elif self._refused == "ended":
            self.state, self._has_end = "stopped", False
        elif self._refused == "superseded":
            self._has_end = False

    def _is_moved(self, receipts: Sequence[Receipt]) -> bool:
        """Return whether the epoch is another one than at the last accepted event."""
        before = self._epoch
        for receipt in receipts:
            if receipt.position is not None:
                self._epoch = receipt.position.epoch
        return before is not None and before != self._epoch

    def _refill(self, beginning: Literal["absent", "own"]) -> None:
        """Publish everything again: the log has lost the key, or some of its items."""
        self._beginning, self._epoch = beginning, None
        self._accepted, self._sent = 0, 0
        self._waiting_bytes = sum(map(len, self._items))
        self._has_end = self.state in ("completed", "failed")

    def _started(self) -> Iterator[_Part]:
        if self._beginning is None:
            return
        take, self._beginning = self._beginning, None
        data = {"stream": self.stream, "format": self.format, "meta": self._meta}
        fields: dict[str, Any] = {}
        if take != "own":
            will = {"event": ENDED, "data": _end(self.stream, "lost", None)}
            fields = {"take": take, "lease": LEASE, "will": will}
        yield _Part(self._event(STARTED, data, **fields), 0)

    def _parts(self) -> Iterator[_Part]:
        waiting = self._items[self._sent :]
        self._sent, self._waiting_bytes = len(self._items), 0
        start = size = 0
        for end, item in enumerate(waiting):
            if size + len(item) > self._part_bytes and end > start:
                yield self._part(waiting[start:end])
                start, size = end, 0
            size += len(item) + 1
        if waiting:
            yield self._part(waiting[start:])

    def _part(self, items: Sequence[bytes]) -> _Part:
        event = Event.from_trusted(
            self._channel,
            PART,
            b"[%b]" % b",".join(items),
            id=self._next_id(),
            key=self._key,
            source=None,
            time=None,
            position=None,
            write=self._append,
        )
        return _Part(event, len(items))

    def _ended(self) -> Iterator[_Part]:
        if self._has_end:
            self._has_end = False
            yield _Part(self._event(ENDED, self._end, fold="end"), 0)

    def _event(self, name: str, data: Any, **fields: Any) -> Event:
        return Event(
            channel=self._channel,
            event=name,
            data=data,
            id=self._next_id(),
            key=self._key,
            attempt=self.attempt,
            **fields,
        )

    def _next_id(self) -> str:
        self._count += 1
        return f"{self._nonce}-{self._count}"


def _end(stream: str, state: str, error: str | None) -> dict[str, Any]:
    return {"stream": stream, "state": state, "error": error, "by": None}


def _state_of(event: Event) -> Any:
    data = event.data
    return data.get("state") if isinstance(data, dict) else None
