"""State of a key that has an owner: a fold of its events, and a lease."""

from collections.abc import Iterable

from msgspec.structs import replace

from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import MAX_CONTENT_BYTES, KeyWrite, Refusal, Will, items_of
from realtime_bridge.model.receipt import Renewal

MAX_NOTES = 8
"""Notes of one key: the newest of each event name, and of these the newest."""


class KeyOwner:
    """Owner of one key, with its lease and the amount of the content.

    It is all that a write is checked against, so a log may keep the events themselves elsewhere.
    Times are in seconds of the log's clock.
    """

    __slots__ = (
        "attempt",
        "content_bytes",
        "expires",
        "has_end",
        "is_lapsed",
        "is_trimmed",
        "lease",
        "noted",
        "touched_at",
        "will",
    )

    def __init__(self, *, touched_at: float) -> None:
        self.attempt: str | None = None
        """The owner; None for a key that never had one."""
        self.content_bytes: int = 0
        """Bytes of the items of all parts, joined by commas."""
        self.has_end: bool = False
        self.is_lapsed: bool = False
        """True if the end is that of a silent owner."""
        self.is_trimmed: bool = False
        """True if the content was dropped; later parts are not kept either."""
        self.lease: int = 0
        self.expires: float | None = None
        """Time at which the lease runs out."""
        self.noted: int = 0
        """Offset of the newest note."""
        self.touched_at: float = touched_at
        self.will: Will | None = None

    @property
    def is_ended(self) -> bool:
        """True if the key ended, other than by a lapse."""
        return self.has_end and not self.is_lapsed

    def size_with(self, part: Event) -> int:
        """Return the bytes of all items as one list, with those of another part."""
        items = len(items_of(part.body))
        return 2 + self.content_bytes + items + (self.content_bytes > 0 and items > 0)

    def is_due(self, now: float) -> bool:
        """Return whether the lease ran out."""
        return self.expires is not None and now >= self.expires

    def fold(self, event: Event, now: float, write: KeyWrite | None) -> None:
        """Apply an accepted event, which has its position; `write` is all of its change."""
        self.touched_at = now
        match event.fold:
            case None:
                self.has_end = self.is_lapsed = self.is_trimmed = False
                self.content_bytes = 0
            case "append":
                self.has_end = self.is_lapsed = False
                if not self.is_trimmed:
                    self.content_bytes = self.size_with(event) - 2
            case "end" | "lapse":
                self.has_end, self.is_lapsed = True, event.fold == "lapse"
                if not self.is_lapsed:
                    self.noted = 0
            case _:  # "note"
                self.noted = offset_of(event)
                return  # a note may come from others: it restarts no lease
        if write is not None and write.fold != "lapse":
            self._own(write)
        self.expires = now + self.lease if self.lease and not self.has_end else None

    def renew(self, attempt: str, now: float) -> Renewal:
        """Restart the lease, if the attempt owns the key."""
        if self.attempt is None:
            return Renewal("gone", self.noted)
        if self.attempt != attempt:
            return Renewal("superseded", self.noted)
        if self.has_end:
            return Renewal("lapsed" if self.is_lapsed else "ended", self.noted)
        self.touched_at = now
        if self.expires is not None:
            self.expires = now + self.lease
        return Renewal(None, self.noted)

    def lapse_event(self, channel: str, key: str, offset: int) -> Event:
        """Return the event by which the log ends the silent owner, for this offset."""
        assert self.will
        return Event.from_trusted(
            channel,
            self.will.event,
            self.will.body,
            id=f"{self.attempt}-lapse-{offset}",
            key=key,
            source=None,
            time=None,
            position=None,
            write=KeyWrite("lapse", self.attempt),
        )

    def drop_content(self) -> None:
        """Remove the items, as a history is removed some time after its last event."""
        self.content_bytes, self.is_trimmed = 0, True

    def _own(self, write: KeyWrite) -> None:
        if write.take is not None:
            self.attempt = write.attempt
            self.lease, self.will = write.lease or 0, write.will
        elif write.lease == 0:
            self.lease, self.will = 0, None


class KeyState(KeyOwner):
    """State of one key: its owner, and its base, content, notes and end.

    Every method takes events that the log has stored: they have a position.

    Args:
        base: the last event that replaced the key; None if there is none.
        touched_at: time of the last change.

    """

    __slots__ = ("_content", "_last_part", "_notes", "base", "end")

    def __init__(self, base: Event | None, *, touched_at: float) -> None:
        super().__init__(touched_at=touched_at)
        self.base = base
        self.end: Event | None = None
        self._content = bytearray()
        """Items of all parts, joined by commas: joined as bytes, nothing is decoded."""
        self._last_part: Event | None = None
        self._notes: dict[str, Event] = {}

    @property
    def size(self) -> int:
        """Bytes of data."""
        kept = (self.base, self.end, *self._notes.values())
        return self.content_bytes + sum(len(event.body) for event in kept if event)

    def apply(self, event: Event, now: float, write: KeyWrite | None) -> None:
        """Fold an accepted event into the state; `write` is all of its change of the key."""
        self.fold(event, now, write)
        match event.fold:
            case None:
                self.base, self.end = event, None
                self._content, self._last_part = bytearray(), None
            case "append":
                self._append(event)
            case "end" | "lapse":
                self.end = event
                if not self.is_lapsed:
                    # They were for the run that ended: the next one must not follow them.
                    self._notes = {}
            case _:  # "note"
                self._note(event)

    def lapse(self, offset: int) -> Event:
        """Return the event by which the log ends the silent owner, for this offset."""
        assert self.base  # a lease comes with a replacing event
        assert self.base.key
        return self.lapse_event(self.base.channel, self.base.key, offset)

    def drop_content(self) -> None:
        """Remove the items, as a history is removed some time after its last event."""
        if self._last_part is not None:
            super().drop_content()
            self._content, self._last_part = bytearray(), None

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
        copy._content, copy.content_bytes = self._content, self.content_bytes
        copy.is_trimmed = self.is_trimmed
        copy.attempt, copy.lease, copy.will = self.attempt, self.lease, self.will
        copy.expires = self.expires
        return copy

    def _append(self, event: Event) -> None:
        self.end = None
        if self.is_trimmed:
            return
        self._last_part = event
        items = items_of(event.body)
        if items and self._content:
            self._content += b","
        self._content += items

    def _note(self, event: Event) -> None:
        self._notes.pop(event.event, None)  # then inserted last: the order is that of the offsets
        self._notes[event.event] = event
        if len(self._notes) > MAX_NOTES:
            del self._notes[next(iter(self._notes))]

    def _merged_part(self) -> Event | None:
        part = self._last_part
        # Also without items: a reader's page ends at this offset.
        return part and replace(part, body=b"[%b]" % bytes(self._content))


def refusal(state: KeyOwner | None, event: Event, *, exists: bool) -> Refusal | None:
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


def _refusal_of_note(state: KeyOwner | None, *, exists: bool) -> Refusal | None:
    if not exists:
        return "gone"
    return "ended" if state and state.is_ended else None


def _refusal_of_owner(state: KeyOwner | None, event: Event, attempt: str) -> Refusal | None:
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
