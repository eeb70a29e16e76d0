"""State of a stream, folded from its events. Twin of streams/fold.ts."""

import re
from collections.abc import Iterable
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.event import Event
from realtime_bridge.model.names import is_label

STARTED, PART, ENDED = "stream.started", "stream.part", "stream.ended"
"""Names of the events of a stream."""

StreamPhase = Literal["unknown", "open", "completed", "failed", "stopped", "lost"]

_NUMBER = re.compile("[0-9]{1,15}")

FINAL = ("completed", "failed", "stopped")
"""States of a stream that has ended."""


def stream_key(stream: str) -> str:
    """Return the key of a stream's events."""
    return f"stream-{stream}"


def check_stream(stream: str) -> str:
    """Return the id of a stream after its validation.

    Raises:
        InvalidEventError: it is not valid.

    """
    if not isinstance(stream, str) or not stream or not is_label(stream_key(stream)):
        raise InvalidEventError(
            f"Bad stream id {str(stream)[:80]!r}: use 1 to 121 printable characters"
        )
    return stream


class StreamSnapshot(Struct, frozen=True, kw_only=True):
    """State of a stream as of one event.

    Args:
        stream: id of the stream; None before its first event.
        attempt: name of the run that writes it.
        format: form of the items, such as `text`.
        state: `unknown` before the first event; `lost` while its writer is silent.
        items: items so far.
        error: text of a failure.
        meta: value that the writer gave for readers.
        trimmed: whether older items are missing.
        last_id: id of the writer's last event.

    """

    stream: str | None = None
    attempt: str | None = None
    format: str = "text"
    state: StreamPhase = "unknown"
    items: tuple[Any, ...] = ()
    error: str | None = None
    meta: Any = None
    trimmed: bool = False
    last_id: str | None = None

    @property
    def text(self) -> str:
        """Items joined, for the format `text`."""
        return "".join(item for item in self.items if isinstance(item, str))


UNKNOWN_STREAM = StreamSnapshot()
"""State before the first event."""


def fold_stream(snapshot: StreamSnapshot, event: Event) -> StreamSnapshot:
    """Return the state after another event of the stream's key; unreadable data changes nothing."""
    data = event.data
    match event.fold:
        case None:
            return _started(event, data) if isinstance(data, dict) else snapshot
        case "append":
            if not isinstance(data, list):
                return snapshot
            if snapshot.attempt not in (None, event.attempt):
                snapshot = _without_begin(snapshot, event)
            return replace(
                snapshot,
                state="open",
                items=(*snapshot.items, *data),
                error=None,
                trimmed=snapshot.trimmed or _misses_parts(snapshot, event),
                last_id=event.id,
            )
        case "end" | "lapse":
            return _ended(snapshot, event, data if isinstance(data, dict) else {})
    return snapshot


def fold_group(group: Iterable[Event], snapshot: StreamSnapshot = UNKNOWN_STREAM) -> StreamSnapshot:
    """Return the state that a key's group describes; without a group, `snapshot`."""
    for event in group:
        if event.fold == "append":
            # The merged parts have the id of the last one, and are complete.
            snapshot = replace(snapshot, last_id=None)
        snapshot = fold_stream(snapshot, event)
    return snapshot


def _started(event: Event, data: dict[str, Any]) -> StreamSnapshot:
    stream, form = data.get("stream"), data.get("format")
    return StreamSnapshot(
        stream=stream if isinstance(stream, str) else None,
        attempt=event.attempt,
        format=form if isinstance(form, str) else "text",
        state="open",
        meta=data.get("meta"),
        last_id=event.id,
    )


def _without_begin(snapshot: StreamSnapshot, event: Event) -> StreamSnapshot:
    """Return the state of another attempt, whose begin and first items did not arrive.

    A log that lost everything takes an earlier attempt for the owner: its begin is known already.
    """
    return StreamSnapshot(
        stream=snapshot.stream, attempt=event.attempt, format=snapshot.format, trimmed=True
    )


def _ended(snapshot: StreamSnapshot, event: Event, data: dict[str, Any]) -> StreamSnapshot:
    given, error = data.get("state"), data.get("error")
    state = given if given in FINAL else "completed"
    is_lapse = event.fold == "lapse"
    return replace(
        snapshot,
        state="lost" if is_lapse else state,
        error=error if isinstance(error, str) else None,
        trimmed=snapshot.trimmed or _misses_parts(snapshot, event),
        # A lapse is made by the log: the writer's next event continues its last one.
        last_id=snapshot.last_id if is_lapse else event.id,
    )


def _misses_parts(snapshot: StreamSnapshot, event: Event) -> bool:
    """Return whether the writer published events between the last one and this."""
    nonce, number = writer_number(event.id)
    last_nonce, last = writer_number(snapshot.last_id or "")
    return nonce is not None and nonce == last_nonce and number > last + 1


def writer_number(event_id: str) -> tuple[str | None, int]:
    """Return the nonce and the number in an event's id; without a nonce, another writer made it."""
    nonce, _, number = event_id.rpartition("-")
    return (nonce, int(number)) if _NUMBER.fullmatch(number) else (None, 0)
