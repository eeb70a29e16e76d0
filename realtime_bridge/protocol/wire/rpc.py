"""What a worker and the server say to each other: calls on the log, as JSON."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.event import MAX_BATCH, Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.wire.messages import ProtocolError, decode_event, encode_events

MAX_CALL_BYTES = 8 * 1024 * 1024
"""The largest call; uvicorn's own limit of a message is 16 MiB."""


TIMESTAMP, SIGNATURE = "Realtime-Timestamp", "Realtime-Signature"


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a call: hex HMAC-SHA256 of `timestamp.body` with the secret."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def signed_headers(secret: str, timestamp: str, body: bytes) -> dict[str, str]:
    """Return the headers that prove a call comes from somebody who has the secret."""
    return {TIMESTAMP: timestamp, SIGNATURE: sign(secret, timestamp, body)}


def pack_event(event: Event) -> dict[str, Any]:
    """Return an event as a call carries it: not placed yet."""
    fields = {
        "channel": event.channel,
        "event": event.event,
        "data": orjson.Fragment(event.body),
        "id": event.id,
    }
    if event.key is not None:
        fields["key"] = event.key
    if event.source is not None:
        fields["source"] = event.source
    return fields


def unpack_events(events: object, *, fallback_id: str | None = None) -> list[Event]:
    """Read the events of a call, all of them or none.

    Args:
        events: the list that was sent.
        fallback_id: what the ids of events without one are made from, so that the same call,
            received twice, publishes once.

    Raises:
        InvalidEventError: one of them cannot be published; it says which.

    """
    if not isinstance(events, list) or not events:
        raise InvalidEventError('Send {"events": [{"channel": …, "event": …, "data": …}]}')
    if len(events) > MAX_BATCH:
        raise InvalidEventError(f"{len(events)} events at once are over the limit of {MAX_BATCH}")
    return [_unpack_event(fields, number, fallback_id) for number, fields in enumerate(events)]


def pack_receipt(receipt: Receipt) -> dict[str, Any]:
    """Return a receipt as an answer carries it."""
    return {
        "id": receipt.id,
        "position": receipt.position.to_json() if receipt.position else None,
        "duplicate": receipt.duplicate,
        "pushed": receipt.pushed,
    }


def unpack_receipt(fields: Mapping[str, Any]) -> Receipt:
    """Read a receipt."""
    position = fields["position"]
    return Receipt(
        id=fields["id"],
        position=Position.from_json(position) if position else None,
        duplicate=fields["duplicate"],
        pushed=fields["pushed"],
    )


def pack_answer(answer: Page | Reset) -> dict[str, Any]:
    """Return what a log read, as an answer carries it."""
    if isinstance(answer, Reset):
        return {"reset": answer.reason, "top": answer.top.to_json()}
    return {
        "events": encode_events(answer.events),
        "top": answer.top.to_json(),
        "more": answer.more,
    }


def unpack_answer(fields: Mapping[str, Any]) -> Page | Reset:
    """Read what a log read."""
    top = Position.from_json(fields["top"])
    if "reset" in fields:
        return Reset(reason=fields["reset"], top=top)
    events = tuple(decode_event(event) for event in fields["events"])
    return Page(events=events, top=top, more=fields["more"])


def unpack_channels(channels: object) -> Sequence[str]:
    """Read a list of channels.

    Raises:
        ProtocolError: it is none.

    """
    if not isinstance(channels, list) or not all(isinstance(name, str) for name in channels):
        raise ProtocolError("channels is a list of names")
    return channels


def _unpack_event(fields: object, number: int, fallback_id: str | None) -> Event:
    if not isinstance(fields, dict) or not {"channel", "event"} <= fields.keys():
        raise InvalidEventError(f"events[{number}] has to have channel, event and data")
    made_id = f"{fallback_id}-{number}" if fallback_id else None
    try:
        return Event(
            channel=fields["channel"],
            event=fields["event"],
            data=fields.get("data"),
            id=made_id if fields.get("id") is None else fields["id"],
            key=fields.get("key"),
            source=fields.get("source"),
        )
    except InvalidEventError as error:
        raise InvalidEventError(f"events[{number}]: {error}") from error
