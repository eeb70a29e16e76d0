"""Messages of the protocol: one JSON object per text frame (docs/specification.md §1)."""

from collections.abc import Iterable, Mapping
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


class ProtocolError(Exception):
    """Malformed message; it closes the connection with code 4400."""


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
