"""Calls of workers on the server's log, and their signatures, as JSON."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from msgspec import ValidationError, convert, to_builtins

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.event import MAX_BATCH, Event
from realtime_bridge.model.key_write import KeyWrite
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.wire.messages import ProtocolError, decode_event, encode_events

MAX_CALL_BYTES = 8 * 1024 * 1024
"""Largest call, in bytes; uvicorn's limit for a WebSocket message is 16 MiB (`--ws-max-size`)."""

TIMESTAMP, SIGNATURE = "Realtime-Timestamp", "Realtime-Signature"
"""Headers of a signed call."""


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a call: hex HMAC-SHA256 of `timestamp.body` with the secret."""
    # The signature covers the timestamp: else an old body could be sent with a new time.
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def signed_headers(secret: str, timestamp: str, body: bytes) -> dict[str, str]:
    """Return the headers that prove the caller's knowledge of the secret."""
    return {TIMESTAMP: timestamp, SIGNATURE: sign(secret, timestamp, body)}


def sign_nonce(secret: str, nonce: str) -> str:
    """Return a worker's proof for one connection: the signature of the server's nonce."""
    # No timestamp begins so: the proof signs no call, and no call's signature is a proof.
    return sign(secret, f"nonce {nonce}", b"GET publish")


def pack_event(event: Event) -> dict[str, Any]:
    """Return the fields of an event without a position, for a call."""
    # A fragment: the body is JSON already, so it is neither parsed nor encoded a second time.
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
    if event.traceparent is not None:
        fields["traceparent"] = event.traceparent
    if event.write is not None:
        fields |= _pack_key_write(event.write)
    return fields


def unpack_events(events: object, *, fallback_id: str | None = None) -> list[Event]:
    """Return the events of a call after validating them all.

    Args:
        events: the received JSON value.
        fallback_id: base of the ids of events without an id, so that the same call,
            received twice, publishes once.

    Raises:
        InvalidEventError: an event is not valid; the message has its index.

    """
    if not isinstance(events, list) or not events:
        raise InvalidEventError(
            'events is no list, or empty: send {"events": [{"channel": …, "event": …, "data": …}]}'
        )
    if len(events) > MAX_BATCH:
        raise InvalidEventError(
            f"{len(events)} events at once are over the limit of {MAX_BATCH}: send several calls"
        )
    return [_unpack_event(fields, number, fallback_id) for number, fields in enumerate(events)]


def unpack_batches(batches: object) -> list[list[Event] | InvalidEventError]:
    """Return the events of each batch of a call, or their error.

    Raises:
        InvalidEventError: there are no batches, or too many.

    """
    if not isinstance(batches, list) or not 0 < len(batches) <= MAX_BATCH:
        raise InvalidEventError(f"batches is not valid: send a list of 1 to {MAX_BATCH} lists")
    unpacked: list[list[Event] | InvalidEventError] = []
    for batch in batches:
        try:
            unpacked.append(unpack_events(batch))
        except InvalidEventError as error:
            unpacked.append(error)
    return unpacked


def pack_receipt(receipt: Receipt) -> dict[str, Any]:
    """Return the fields of a receipt, for a response."""
    fields: dict[str, Any] = {
        "id": receipt.id,
        "position": receipt.position.to_json() if receipt.position else None,
        "duplicate": receipt.duplicate,
        "pushed": receipt.pushed,
    }
    if receipt.refused is not None:
        fields["refused"] = receipt.refused
    if receipt.noted:
        fields["noted"] = receipt.noted
    return fields


def unpack_receipt(fields: Mapping[str, Any]) -> Receipt:
    """Return the receipt in a response."""
    position = fields["position"]
    return Receipt(
        id=fields["id"],
        position=Position.from_json(position) if position else None,
        duplicate=fields["duplicate"],
        pushed=fields["pushed"],
        refused=fields.get("refused"),
        noted=fields.get("noted", 0),
    )


def pack_lease(lease: Lease) -> dict[str, Any]:
    """Return the fields of a lease, for a call."""
    return to_builtins(lease)  # type: ignore[no-any-return]


def unpack_leases(leases: object) -> list[Lease]:
    """Return the leases of a call.

    Raises:
        ProtocolError: a lease is not valid.

    """
    try:
        return convert(leases, list[Lease])
    except ValidationError as error:
        raise ProtocolError(
            f"leases is not valid ({error}): send a list of objects with channel, key and attempt"
        ) from error


def pack_renewal(renewal: Renewal) -> dict[str, Any]:
    """Return the fields of a renewal, for a response."""
    return to_builtins(renewal)  # type: ignore[no-any-return]


def unpack_renewal(fields: object) -> Renewal:
    """Return the renewal in a response."""
    return convert(fields, Renewal)


def pack_answer(answer: Page | Reset) -> dict[str, Any]:
    """Return the fields of a log's page or reset, for a response."""
    if isinstance(answer, Reset):
        return {"reset": answer.reason, "top": answer.top.to_json()}
    return {
        "events": orjson.Fragment(encode_events(answer.events)),
        "top": answer.top.to_json(),
        "more": answer.more,
    }


def unpack_answer(fields: Mapping[str, Any]) -> Page | Reset:
    """Return the log's page or reset in a response."""
    top = Position.from_json(fields["top"])
    if "reset" in fields:
        return Reset(reason=fields["reset"], top=top)
    events = tuple(decode_event(event) for event in fields["events"])
    return Page(events=events, top=top, more=fields["more"])


def unpack_channels(channels: object) -> Sequence[str]:
    """Return a list of channel names.

    Raises:
        ProtocolError: the value is not a list of strings.

    """
    if not isinstance(channels, list) or not all(isinstance(name, str) for name in channels):
        raise ProtocolError("channels is not valid: send a list of names")
    return channels


def _unpack_event(fields: object, number: int, fallback_id: str | None) -> Event:
    if not isinstance(fields, dict) or not {"channel", "event"} <= fields.keys():
        raise InvalidEventError(
            f"events[{number}] is incomplete: send an object with channel, event and data"
        )
    generated_id = f"{fallback_id}-{number}" if fallback_id else None
    try:
        return Event(
            channel=fields["channel"],
            event=fields["event"],
            data=fields.get("data"),
            id=generated_id if fields.get("id") is None else fields["id"],
            key=fields.get("key"),
            source=fields.get("source"),
            fold=fields.get("fold"),
            attempt=fields.get("attempt"),
            take=fields.get("take"),
            lease=fields.get("lease"),
            will=fields.get("will"),
            traceparent=fields.get("traceparent"),
        )
    except InvalidEventError as error:
        raise InvalidEventError(f"events[{number}]: {error}") from error


def _pack_key_write(write: KeyWrite) -> dict[str, Any]:
    will = write.will and {"event": write.will.event, "data": orjson.Fragment(write.will.body)}
    names = ("fold", "attempt", "take", "lease")
    fields = {name: getattr(write, name) for name in names} | {"will": will}
    return {name: value for name, value in fields.items() if value is not None}
