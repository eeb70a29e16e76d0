"""State of a key that has an owner: a fold of its events, and a lease."""

from collections.abc import Iterable

from msgspec.structs import replace

from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import MAX_CONTENT_BYTES, KeyWrite, Refusal, Will, items_of

MAX_NOTES = 8
"""Notes of one key: the newest of each event name, and of these the newest."""


class KeyState:
    """State of one key: its base, content, notes and end, and the owner with the lease.

    Times are in seconds of the log's clock. Every method but `refusal` takes events that the log
    has stored: they have a position.

    Args:
        base: the last event that replaced the key; None if there is none.

    """

    __slots__ = (
        "_content",
        "_last_part",
        "_notes",
        "_will",
        "attempt",
        "base",
        "end",
        "expires",
        "is_lapsed",
        "is_trimmed",
        "lease",
        "noted",
        "touched_at",
    )

    def __init__(self, base: Event | None, *, touched_at: float) -> None:
        self.base = base
        self.end: Event | None = None
        self.is_lapsed: bool = False
        """True if the end is that of a silent owner."""
        self.is_trimmed: bool = False
        """True if the content was dropped; later parts are not kept either."""
        self.attempt: str | None = None
        """The owner; None for a key that never had one."""
        self.lease: int = 0
        self.expires: float | None = None
        """Time at which the lease runs out."""
        self.noted: int = 0
        """Offset of the newest note."""
        self.touched_at: float = touched_at
        self._content = bytearray()
        """Items of all parts, joined by commas: joined as bytes, nothing is decoded."""
        self._last_part: Event | None = None
        self._notes: dict[str, Event] = {}
        self._will: Will | None = None

    @property
    def size(self) -> int:
        """Bytes of data."""
        kept = (self.base, self.end, *self._notes.values())
        return len(self._content) + sum(len(event.body) for event in kept if event)

    @property
    def is_ended(self) -> bool:
        """True if the key ended, other than by a lapse."""
        return self.end is not None and not self.is_lapsed

    @property
    def content_bytes(self) -> int:
        """Bytes of the items."""
        return len(self._content)

    def size_with(self, part: Event) -> int:
        """Return the bytes of all items as one list, with those of another part."""
        items = len(items_of(part.body))
        return 2 + self.content_bytes + items + (self.content_bytes > 0 and items > 0)

    def is_due(self, now: float) -> bool:
        """Return whether the lease ran out."""
        return self.expires is not None and now >= self.expires

    def apply(self, event: Event, now: float, write: KeyWrite | None) -> None:
        """Fold an accepted event into the state; `write` is all of its change of the key."""
        assert event.position
        self.touched_at = now
        match event.fold:
            case None:
                self._replace(event)
            case "append":
                self._append(event)
            case "end" | "lapse":
                self.end, self.is_lapsed = event, event.fold == "lapse"
                if not self.is_lapsed:
                    # They were for the run that ended: the next one must not follow them.
                    self._notes, self.noted = {}, 0
            case "note":
                self._note(event)
                return  # a note may come from others: it restarts no lease
        if write is not None and write.fold != "lapse":
            self._own(write)
        self.expires = now + self.lease if self.lease and self.end is None else None

    def renew(self, now: float) -> None:
        """Restart the lease."""
        self.touched_at = now
        if self.expires is not None:
            self.expires = now + self.lease

    def lapse(self, offset: int) -> Event:
        """Return the event by which the log ends the silent owner, for this offset."""
        assert self._will
        assert self.base  # a lease comes with a replacing event
        return Event.from_trusted(
            self.base.channel,
            self._will.event,
            self._will.body,
            id=f"{self.attempt}-lapse-{offset}",
            key=self.base.key,
            source=None,
            time=None,
            position=None,
            write=KeyWrite("lapse", self.attempt),
        )

    def drop_content(self) -> None:
        """Remove the items, as a history is removed some time after its last event."""
        if self._last_part is not None:
            self._content, self._last_part, self.is_trimmed = bytearray(), None, True

    def group(self, *, with_parts: bool) -> list[Event]:
        """Return the events that describe the state, by offset; the parts are merged into one."""
        part = self._merged_part() if with_parts else None
        kept = (event for event in (self.base, part, self.end, *self._notes.values()) if event)
        return sorted(kept, key=offset_of)

    def moved(self, group: Iterable[Event]) -> "KeyState":
        """Return the same state in a new epoch, where its group has other positions."""
        copy = KeyState(None, touched_at=self.touched_at)
        for event in group:
            if event.fold == "append":
                copy._last_part = event
            else:
                copy.apply(event, self.touched_at, None)
        copy._content, copy.is_trimmed = self._content, self.is_trimmed
        copy.attempt, copy.lease, copy._will = self.attempt, self.lease, self._will
        copy.expires = self.expires
        return copy

    def _replace(self, event: Event) -> None:
        self.base, self.end, self.is_lapsed = event, None, False
        self._content, self._last_part, self.is_trimmed = bytearray(), None, False

    def _append(self, event: Event) -> None:
        self.end, self.is_lapsed = None, False
        if self.is_trimmed:
            return
        self._last_part = event
        items = items_of(event.body)
        if items and self._content:
            self._content += b","
        self._content += items

    def _note(self, event: Event) -> None:
        self.noted = offset_of(event)
        self._notes.pop(event.event, None)  # then inserted last: the order is that of the offsets
        self._notes[event.event] = event
        if len(self._notes) > MAX_NOTES:
            del self._notes[next(iter(self._notes))]

    def _own(self, write: KeyWrite) -> None:
        if write.take is not None:
            self.attempt = write.attempt
            self.lease, self._will = write.lease or 0, write.will
        elif write.lease == 0:
            self.lease, self._will = 0, None

    def _merged_part(self) -> Event | None:
        part = self._last_part
        # Also without items: a reader's page ends at this offset.
        return part and replace(part, body=b"[%b]" % bytes(self._content))


def refusal(state: KeyState | None, event: Event, *, exists: bool) -> Refusal | None:
    """Return the reason for which a log refuses an event; None if it appends it.

    Args:
        state: the state of the event's key; None for a key of plain events, and for a new one.
        event: the event, whose id is new.
        exists: whether the log keeps anything for the key.

    """
    write = event.write
    if write is not None and write.fold == "note":
        return _refusal_of_note(state, exists=exists)
    owner = state.attempt if state else None
    if write is None or write.attempt is None:
        return None if owner is None else "owned"
    match write.take:
        case "always":
            return None
        case "open":
            return "ended" if state and state.is_ended else None
        case "absent" if owner is None:
            return None
    # A take-over that was published before is an event of the owner now.
    return _refusal_of_owner(state, event, write.attempt)


def _refusal_of_note(state: KeyState | None, *, exists: bool) -> Refusal | None:
    if not exists:
        return "gone"
    return "ended" if state and state.is_ended else None


def _refusal_of_owner(state: KeyState | None, event: Event, attempt: str) -> Refusal | None:
    if state is None or state.attempt is None:
        return "gone"
    if state.attempt != attempt:
        return "superseded"
    if state.is_ended:
        return "ended"
    is_full = event.fold == "append" and state.size_with(event) > MAX_CONTENT_BYTES
    return "full" if is_full else None


def offset_of(event: Event) -> int:
    """Return the offset of a stored event."""
    assert event.position
    return event.position.offset
