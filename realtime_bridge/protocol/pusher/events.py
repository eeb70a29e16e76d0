"""Events between the log and Pusher's clients, whose data is text."""

from functools import lru_cache

import orjson
from msgspec import Struct, json
from msgspec.structs import replace

from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.model.event import Event
from realtime_bridge.model.event import create_event as create_our_event
from realtime_bridge.model.event_data import MAX_DEPTH
from realtime_bridge.protocol.pusher.names import decode_name, encode_name

_LINES = bytes.maketrans(b"\r\n", b"  ")


class _Place(Struct, frozen=True, gc=False):
    """Position and id of an event."""

    epoch: str
    offset: int
    id: str


class _EventFrame(Struct, frozen=True, gc=False, omit_defaults=True):
    """Event for Pusher's clients, with a field of ours that they ignore."""

    event: str
    channel: str
    data: str
    realtime: _Place | None = None
    user_id: str | None = None


_encode = json.Encoder().encode


def create_event(name: str, event: str, text: str, *, id: str, source: str | None) -> Event:  # noqa: A002 -- as `Event`
    """Return the event of a call.

    Args:
        name: Pusher's name of the channel.
        event: the name of the event.
        text: the data.
        id: idempotency key.
        source: the socket that does not get the event.

    Raises:
        InvalidEventError, ChannelNameError: a name is not valid.

    """
    created = create_our_event(decode_name(name), event, None, id, None, source)
    return replace(created, body=to_body(text))


def to_body(text: str) -> bytes:
    """Return the data of an event as JSON: text that is JSON stays as it is, byte for byte.

    Line breaks between its values become spaces, because lines separate server-sent events.
    Pusher's clients show text that is no JSON as it is, so it becomes a string.
    """
    body = text.encode()
    try:
        value = orjson.loads(body)
        if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
            orjson.dumps(value)  # a check: it refuses more levels than the data of an event has
    except (orjson.JSONDecodeError, TypeError):
        return orjson.dumps(text)
    return body.translate(_LINES) if b"\n" in body or b"\r" in body else body


def to_text(body: bytes) -> str:
    """Return the data of an event as text, from which `to_body` returns the same data.

    A string that is no JSON itself is its own text: clients that do not parse show no quotes.
    """
    text = body.decode()
    if not text.startswith('"'):
        return text
    content: str = orjson.loads(body)
    return content if to_body(content) == orjson.dumps(content) else text


def encode_event(event: Event) -> bytes:
    """Return the frame of an event for Pusher's clients."""
    position = event.position
    return _encode(
        _EventFrame(
            event=event.event,
            channel=encode_name(event.channel),
            data=to_text(event.body),
            realtime=_Place(position.epoch, position.offset, event.id) if position else None,
        )
    )


def create_client_event(
    name: str, event: str, text: str, *, source: str, user: str | None
) -> EphemeralEvent:
    """Return the event of a client.

    Args:
        name: Pusher's name of the channel.
        event: the name of the event.
        text: the data.
        source: the socket that does not get the event.
        user: the user of the client on a presence channel.

    Raises:
        InvalidEventError, ChannelNameError: a name is not valid.

    """
    checked = create_our_event(decode_name(name), event, None, None, None, source)
    return EphemeralEvent(checked.channel, checked.event, text, source, user)


@lru_cache(maxsize=8)
def encode_client_event(event: EphemeralEvent) -> bytes:
    """Return the frame of a client's event for Pusher's clients; all of them share it."""
    name = encode_name(event.channel)
    return _encode(
        _EventFrame(event=event.event, channel=name, data=event.text, user_id=event.user)
    )


def encode_frame(event: str, data: object = None, **fields: object) -> bytes:
    """Return a frame about a connection; the protocol encodes its data as JSON within JSON."""
    frame = {"event": event, **fields}
    if data is not None:
        frame["data"] = orjson.dumps(data).decode()
    return orjson.dumps(frame)
