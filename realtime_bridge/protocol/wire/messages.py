"""Messages of the protocol: one JSON object per text frame (docs/specification.md §1)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from msgspec import Raw, Struct, json

from realtime_bridge.compiled import twin
from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import KeyWrite
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset

VERSION = 1
SUBPROTOCOL = "realtime.v1"
MAX_NONCE = 64
MAX_NAME = 1024 * 1024
MAX_TOKEN = 16 * 1024
"""Longest values of a client's fields, in characters."""


class ProtocolError(Exception):
    """Malformed message; it closes the connection with code 4400."""


class Connect(Struct, frozen=True, gc=False):
    """First message of a client, with its token."""

    token: str
    nonce: str | None


class Subscribe(Struct, frozen=True, gc=False):
    """Subscription to a channel, from a position or from now on.

    Args:
        channel: the channel.
        position: the position.
        problem: the reason why the position is malformed; the channel alone is refused.

    """

    channel: str
    position: Position | None
    problem: str | None = None


class Unsubscribe(Struct, frozen=True, gc=False):
    """End of one or more subscriptions."""

    channels: tuple[str, ...]


class Ping(Struct, frozen=True, gc=False):
    """Check of the connection, answered by a pong."""

    nonce: str | None


class Renew(Struct, frozen=True, gc=False):
    """New token of the client, answered by a welcome if it has a nonce."""

    token: str
    nonce: str | None


ClientFrame = Connect | Subscribe | Unsubscribe | Ping | Renew


def encode(kind: str, **fields: Any) -> bytes:
    """Return the message of this type, without the fields that are None."""
    present = {name: value for name, value in fields.items() if value is not None}
    return orjson.dumps({"type": kind, **present})


class _EventFrame(Struct, frozen=True, gc=False, kw_only=True, tag="event", omit_defaults=True):
    """Message of an event; the data is the last field, as the log in Redis requires."""

    channel: str
    event: str
    id: str
    epoch: str | None = None
    offset: int | None = None
    time: int | None = None
    key: str | None = None
    source: str | None = None
    fold: str | None = None
    attempt: str | None = None
    traceparent: str | None = None
    data: Raw


class _SubscribedFrame(
    Struct, frozen=True, gc=False, kw_only=True, tag="subscribed", omit_defaults=True
):
    """Confirmation of a subscription."""

    channel: str
    recovered: bool
    events: Raw
    more: bool
    epoch: str
    offset: int
    id: str | None = None


class _PageFields(Struct, frozen=True, gc=False):
    """Channel in the answer to a poll."""

    events: Raw
    position: Position
    more: bool


_encode_frame = json.Encoder().encode


@twin(Event, Position, KeyWrite)
def encode_event(event: Event) -> bytes:
    """Return the message of an event: the same bytes for every client, page and transport."""
    position, write = event.position, event.write
    return _encode_frame(
        _EventFrame(
            channel=event.channel,
            event=event.event,
            id=event.id,
            epoch=position.epoch if position else None,
            offset=position.offset if position else None,
            time=event.time,
            key=event.key,
            source=event.source,
            fold=write.fold if write else None,
            attempt=write.attempt if write else None,
            traceparent=event.traceparent,
            data=Raw(event.body),
        )
    )


def encode_stub(channel: str, position: Position) -> bytes:
    """Return the message that stands for an event over a backend's size limit."""
    return encode("stub", channel=channel, **position.to_json())


@twin()
def encode_events(events: Iterable[Event]) -> bytes:
    """Return the messages of events as one JSON list, for a field of another message."""
    return b"[%b]" % b",".join(map(encode_event, events))


def reached(page: Page) -> Position:
    """Return the position that a client has after applying the page."""
    last = page.events[-1].position if page.more and page.events else None
    return last or page.top


def encode_subscribed(channel: str, page: Page, *, recovered: bool) -> tuple[int, bytes]:
    """Return the offset that a page ends with, and the confirmation of a subscription."""
    position = reached(page)
    message = _encode_frame(
        _SubscribedFrame(
            channel=channel,
            recovered=recovered,
            events=Raw(encode_events(page.events)),
            more=page.more,
            epoch=position.epoch,
            offset=position.offset,
            id=position.id,
        )
    )
    return position.offset, message


def encode_page(page: Page) -> orjson.Fragment:
    """Return a page as one channel in the answer to a poll."""
    events = Raw(encode_events(page.events))
    return orjson.Fragment(_encode_frame(_PageFields(events, reached(page), page.more)))


def encode_reset(channel: str, reset: Reset) -> bytes:
    """Return the message that reports a gap, and the position after it."""
    return encode("reset", channel=channel, reason=reset.reason, **reset.top.to_json())


def decode_object(text: str | bytes) -> dict[str, Any]:
    """Return the JSON object of a message.

    Raises:
        ProtocolError: the text is not a JSON object.

    """
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ProtocolError("the frame is not JSON: send one JSON object") from error
    if not isinstance(fields, dict):
        raise ProtocolError("the frame is not a JSON object: send one")
    return fields


def decode_client(text: str | bytes, limit: int) -> ClientFrame:
    """Return the message in a client's frame; bytes are a binary message, which is an error.

    Raises:
        ProtocolError: the text has more than `limit` bytes or is not a JSON object, its type is
            unknown, or a field is not valid.

    """
    if isinstance(text, bytes):
        raise ProtocolError("binary messages are not supported, send text")
    # UTF-8 takes at most 4 bytes per character: short texts need not be encoded to be measured.
    if len(text) > limit or (
        len(text) * 4 > limit and len(text.encode(errors="surrogatepass")) > limit
    ):
        raise ProtocolError(oversized(limit))
    fields = decode_object(text)
    kind = fields.get("type")
    if not isinstance(kind, str):
        raise ProtocolError("the frame has no type: send one as text")
    read = _CLIENT_FRAMES.get(kind)
    if read is None:
        raise ProtocolError(f"unknown frame type {kind[:40]!r}: use {', '.join(_CLIENT_FRAMES)}")
    return read(fields)


def oversized(limit: int) -> str:
    """Return the reason for the rejection of a message over the limit."""
    return f"the frame is over {limit:,} bytes"


def decode_event(fields: Mapping[str, Any]) -> Event:
    """Return the event of a server's message.

    Raises:
        ProtocolError: a field is missing or not valid.

    """
    try:
        return Event(
            channel=fields["channel"],
            event=fields["event"],
            data=fields.get("data"),
            id=fields["id"],
            key=fields.get("key"),
            source=fields.get("source"),
            fold=fields.get("fold"),
            attempt=fields.get("attempt"),
            traceparent=fields.get("traceparent"),
            time=fields.get("time"),
            position=Position(fields["epoch"], fields["offset"], fields["id"])
            if "epoch" in fields
            else None,
        )
    except (KeyError, ValueError) as error:
        raise ProtocolError(f"the event is malformed: {error}") from error


def decode_position(fields: object) -> Position:
    """Return the position in a JSON object, which may have other fields.

    Raises:
        ProtocolError: the epoch, the offset or the id is not valid.

    """
    try:
        return Position.from_json(fields)
    except ValueError as error:
        raise ProtocolError(str(error)) from error


def _text(fields: Mapping[str, Any], name: str, longest: int) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or len(value) > longest:
        raise ProtocolError(
            f"{fields.get('type')}: {name} is not valid: send text of up to {longest:,} characters"
        )
    return value


def _nonce(fields: Mapping[str, Any]) -> str | None:
    return None if fields.get("nonce") is None else _text(fields, "nonce", MAX_NONCE)


def _subscribe(fields: Mapping[str, Any]) -> Subscribe:
    # The limit of a frame bounds the name: the channel alone is refused.
    channel, position = _text(fields, "channel", MAX_NAME), fields.get("position")
    try:
        return Subscribe(channel, None if position is None else decode_position(position))
    except ProtocolError as error:
        return Subscribe(channel, None, str(error))


def _unsubscribe(fields: Mapping[str, Any]) -> Unsubscribe:
    names = fields.get("channels")
    if names is None:
        return Unsubscribe((_text(fields, "channel", MAX_NAME),))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ProtocolError("unsubscribe: channels is not valid: send a list of names")
    return Unsubscribe(tuple(names))


_CLIENT_FRAMES: dict[str, Callable[[Mapping[str, Any]], ClientFrame]] = {
    "connect": lambda fields: Connect(_text(fields, "token", MAX_TOKEN), _nonce(fields)),
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "ping": lambda fields: Ping(_nonce(fields)),
    "token": lambda fields: Renew(_text(fields, "token", MAX_TOKEN), _nonce(fields)),
}
