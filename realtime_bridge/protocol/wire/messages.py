"""The wire: JSON text frames, one object each, as docs/specification.md §1 lists them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from msgspec import Raw, Struct, json

from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset

VERSION = 1
SUBPROTOCOL = "realtime.v1"
MAX_NONCE = 64
MAX_TEXT = 1_000
MAX_TOKEN = 16 * 1024


class ProtocolError(Exception):
    """The other side sent what no frame looks like; the connection ends with code 4400."""


class Connect(Struct, frozen=True, gc=False):
    """The client's first frame: who it is."""

    token: str
    nonce: str | None


class Subscribe(Struct, frozen=True, gc=False):
    """The client wants a channel, from a position or from now."""

    channel: str
    position: Position | None


class Unsubscribe(Struct, frozen=True, gc=False):
    """The client wants a channel no more."""

    channel: str


class Ping(Struct, frozen=True, gc=False):
    """The client asks whether anybody is there."""

    nonce: str | None


class Renew(Struct, frozen=True, gc=False):
    """The client has a fresh token."""

    token: str


ClientFrame = Connect | Subscribe | Unsubscribe | Ping | Renew


def encode(kind: str, **fields: Any) -> bytes:
    """Return the frame of this type; fields that are None are left out."""
    present = {name: value for name, value in fields.items() if value is not None}
    return orjson.dumps({"type": kind, **present})


class _EventFrame(Struct, frozen=True, gc=False, kw_only=True, tag="event", omit_defaults=True):
    """The frame of an event; the data comes last, for `held_event` and `halves`."""

    channel: str
    event: str
    id: str
    epoch: str | None = None
    offset: int | None = None
    time: int | None = None
    key: str | None = None
    source: str | None = None
    data: Raw


_encode_frame = json.Encoder().encode


def encode_event(event: Event) -> bytes:
    """Return the frame of an event: the same bytes for every client, page and transport."""
    place = event.position
    return _encode_frame(
        _EventFrame(
            channel=event.channel,
            event=event.event,
            id=event.id,
            epoch=place.epoch if place else None,
            offset=place.offset if place else None,
            time=event.time,
            key=event.key,
            source=event.source,
            data=Raw(event.body),
        )
    )


def encode_stub(channel: str, position: Position) -> bytes:
    """Return what stands for an event that is too large for whoever carries it."""
    return encode("stub", channel=channel, **position.to_json())


def halves(event: Event) -> tuple[bytes, bytes]:
    """Return an event's frame without its place: `"epoch":…,"offset":…,"time":…` goes between."""
    named = event.channel.encode(), orjson.dumps(event.event), orjson.dumps(event.id)
    tail = b',"data":%b}' % event.body
    for name, label in ((b"source", event.source), (b"key", event.key)):
        if label is not None:
            tail = b',"%b":%b%b' % (name, orjson.dumps(label), tail)
    return b'{"type":"event","channel":"%b","event":%b,"id":%b' % named, tail


def encode_events(events: Iterable[Event]) -> list[orjson.Fragment]:
    """Return the frames of several events, to stand in a list within another frame."""
    return [orjson.Fragment(encode_event(event)) for event in events]


def reached(page: Page) -> Position:
    """Return the position that a client has after applying the page."""
    last = page.events[-1].position if page.more and page.events else None
    return last or page.top


def encode_subscribed(channel: str, page: Page, *, recovered: bool) -> tuple[int, bytes]:
    """Return the offset that a page ends with, and the answer to a subscription."""
    position = reached(page)
    return position.offset, encode(
        "subscribed",
        channel=channel,
        **position.to_json(),
        recovered=recovered,
        events=encode_events(page.events),
        more=page.more,
    )


def encode_page(page: Page) -> dict[str, Any]:
    """Return the fields of a page in the answer to a poll."""
    return {
        "events": encode_events(page.events),
        "position": reached(page).to_json(),
        "more": page.more,
    }


def encode_reset(channel: str, reset: Reset) -> bytes:
    """Return the word that the channel goes on elsewhere, with a hole before it."""
    return encode("reset", channel=channel, reason=reset.reason, **reset.top.to_json())


def decode_object(text: str | bytes) -> dict[str, Any]:
    """Return the JSON object that `text` is.

    Raises:
        ProtocolError: it is none.

    """
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ProtocolError("the frame is not JSON") from error
    if not isinstance(fields, dict):
        raise ProtocolError("the frame is not a JSON object")
    return fields


def decode_client(text: str | bytes) -> ClientFrame:
    """Read a frame of a client.

    Raises:
        ProtocolError: it is not JSON, of no known type, or lacks what its type needs.

    """
    fields = decode_object(text)
    kind = fields.get("type")
    if not isinstance(kind, str):
        raise ProtocolError("the frame has no type")
    read = _CLIENT_FRAMES.get(kind)
    if read is None:
        raise ProtocolError(f"unknown frame type {kind[:40]!r}")
    return read(fields)


def decode_event(fields: Mapping[str, Any]) -> Event:
    """Read the event that a server's frame holds.

    Raises:
        ProtocolError: it is none.

    """
    try:
        return Event(
            channel=fields["channel"],
            event=fields["event"],
            data=fields.get("data"),
            id=fields["id"],
            key=fields.get("key"),
            source=fields.get("source"),
            time=fields.get("time"),
            position=Position(fields["epoch"], fields["offset"], fields["id"])
            if "epoch" in fields
            else None,
        )
    except (KeyError, ValueError) as error:
        raise ProtocolError(f"a malformed event: {error}") from error


def held_event(frame: bytes) -> Event:
    """Read an event's frame as a log of ours keeps it: its data is last, and stays as it is."""
    head, _, data = frame.partition(_DATA)
    fields = orjson.loads(head + b"}")
    held = fields["id"]
    return Event.from_trusted(
        fields["channel"],
        fields["event"],
        data[:-1],
        id=held,
        key=fields.get("key"),
        source=fields.get("source"),
        time=fields["time"],
        position=Position(fields["epoch"], fields["offset"], held),
    )


_DATA = b',"data":'
"""No text before the data can have this in it: quotes within JSON's texts are escaped."""


def decode_position(fields: object) -> Position:
    """Read a position, nested or among a frame's other fields.

    Raises:
        ProtocolError: it is none.

    """
    try:
        return Position.from_json(fields)
    except ValueError as error:
        raise ProtocolError(str(error)) from error


def _text(fields: Mapping[str, Any], name: str, longest: int) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or len(value) > longest:
        raise ProtocolError(f"{fields.get('type')}: {name} is a text of up to {longest} characters")
    return value


def _nonce(fields: Mapping[str, Any]) -> str | None:
    return None if fields.get("nonce") is None else _text(fields, "nonce", MAX_NONCE)


def _subscribe(fields: Mapping[str, Any]) -> Subscribe:
    position = fields.get("position")
    return Subscribe(
        _text(fields, "channel", MAX_TEXT), None if position is None else decode_position(position)
    )


_CLIENT_FRAMES: dict[str, Callable[[Mapping[str, Any]], ClientFrame]] = {
    "connect": lambda fields: Connect(_text(fields, "token", MAX_TOKEN), _nonce(fields)),
    "subscribe": _subscribe,
    "unsubscribe": lambda fields: Unsubscribe(_text(fields, "channel", MAX_TEXT)),
    "ping": lambda fields: Ping(_nonce(fields)),
    "token": lambda fields: Renew(_text(fields, "token", MAX_TOKEN)),
}
