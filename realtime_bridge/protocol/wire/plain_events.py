"""Server-Sent Events for readers that do not know the protocol: EventSource, htmx, Datastar."""

import re
from typing import Any, Literal, NamedTuple, get_args

import orjson

from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset

Form = Literal["json", "text", "event"]
FORMS: tuple[Form, ...] = get_args(Form)
"""Forms of the data: as JSON, a text as its lines, or the whole message of the event."""

RESET = "realtime-reset"
"""Name of the event that reports a gap."""

_TAKEN = ("open", "error", RESET)
"""Names that a reader gives a meaning of its own: EventSource fires the first two itself."""

_UNNAMED = "message"
"""Name of events without one; htmx 4 inserts the data of unnamed events alone."""

_DATA = b',"data":'
"""Start of the data; no earlier field can contain it, since JSON escapes quotes in strings."""

_LINE_BREAK = re.compile(rb"\r\n|\r|\n")


class EventParts(NamedTuple):
    """Parts of an event's message, in which the data stays as it is."""

    name: str
    position: Position
    body: bytes


def split_message(message: bytes) -> EventParts:
    """Return the parts of an event's message; it is one that a server has encoded."""
    head, _, rest = message.partition(_DATA)
    fields: dict[str, Any] = orjson.loads(head + b"}")
    position = Position(fields["epoch"], fields["offset"], fields["id"])
    return EventParts(fields["event"], position, rest.removesuffix(b"}"))


def encode_plain_event(name: str, body: bytes, message: bytes, *, form: Form, line: str) -> bytes:
    """Return one event.

    Args:
        name: the event's name.
        body: its data, as JSON.
        message: its whole message.
        form: the form in which its data is sent.
        line: the id, with the positions of all channels; empty where no channel has one yet.

    """
    data = message if form == "event" else body
    lines = _text_lines(body) if form == "text" and body.startswith(b'"') else [data]
    parts = [b"data: %b\n" % part for part in lines]
    return b"".join([_name(name), _id(line), *parts, b"\n"])


def encode_plain_reset(channel: str, reset: Reset, line: str) -> bytes:
    """Return the event that reports a gap, in the same form for all readers."""
    data = orjson.dumps({"channel": channel, "reason": reset.reason})
    return b"event: %b\n%bdata: %b\n\n" % (RESET.encode(), _id(line), data)


def encode_id(line: str) -> bytes:
    """Return a block that sets the reader's last event id, and fires no event."""
    return _id(line) + b"\n" if line else b""


def encode_retry(milliseconds: int, reason: str = "") -> bytes:
    """Return a block that sets the wait before a reader connects again.

    Args:
        milliseconds: the wait.
        reason: a comment for people.

    """
    comment = f": {' '.join(reason.split())}\n" if reason else ""
    return f"retry: {milliseconds}\n{comment}\n".encode()


def _name(name: str) -> bytes:
    if name == _UNNAMED:
        return b""
    return f"event: {f'event.{name}' if name in _TAKEN else name}\n".encode()


def _id(line: str) -> bytes:
    return f"id: {line}\n".encode() if line else b""


def _text_lines(body: bytes) -> list[bytes]:
    text: str = orjson.loads(body)
    return _LINE_BREAK.split(text.encode())
