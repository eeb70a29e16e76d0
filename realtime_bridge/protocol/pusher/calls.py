"""Bodies of the calls with which Pusher's server SDKs publish."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from msgspec import Struct

from realtime_bridge.protocol.pusher.call_error import CallError

NAME_LENGTH = 200
"""Longest name of an event, in characters (Pusher docs, HTTP API reference)."""

RESERVED_EVENTS = ("pusher:", "pusher_internal:")
"""Starts of the names of the protocol's own events."""

SOCKET_ID = re.compile(r"[0-9]{1,20}\.[0-9]{1,20}")

_OWN_PAGE = re.compile(r"0([0-9]{1,10})\.([0-9]{1,10})")
"""Socket id of a page of our own client; its numbers are the halves of the client's id."""

CheckName = Callable[[str], object]
"""Checks a channel's name, and raises a ValueError with the reason."""


class CallLimits(Struct, frozen=True, kw_only=True):
    """Limits of one call (Pusher docs, HTTP API reference, "publishing events").

    Args:
        data_bytes: the bytes of an event's data.
        channels: the channels of one event.
        batch: the events of a batch.

    """

    data_bytes: int = 10_240
    channels: int = 100
    batch: int = 10

    @property
    def body_bytes(self) -> int:
        """The largest body: data inside JSON inside JSON, whose characters may be escaped."""
        return 6 * self.batch * self.data_bytes + 64 * 1024


class Trigger(Struct, frozen=True, kw_only=True):
    """Event that a call publishes to one channel.

    Args:
        channel: Pusher's name of the channel.
        name: the name of the event.
        data: the data, as text.
        socket_id: the socket that does not get the event.
        info: the attributes of the channel that the answer has.

    """

    channel: str
    name: str
    data: str
    socket_id: str | None
    info: tuple[str, ...]


def read_event(body: bytes, limits: CallLimits, check_name: CheckName) -> list[Trigger]:
    """Return what `POST events` publishes, one item for each channel.

    Raises:
        CallError: 400, a field is not valid; 413, the data is too large.

    """
    fields = _object(body)
    channels = fields.get("channels", [fields.get("channel")])
    if not isinstance(channels, list) or not 0 < len(channels) <= limits.channels:
        raise CallError(400, f"An event has 1 to {limits.channels} channels")
    triggers = [_trigger({**fields, "channel": name}, limits, check_name) for name in channels]
    if len({*channels}) < len(channels):
        raise CallError(400, "A channel is named twice")
    return triggers


def read_batch(body: bytes, limits: CallLimits, check_name: CheckName) -> list[Trigger]:
    """Return what `POST batch_events` publishes.

    Raises:
        CallError: 400, a field is not valid; 413, the data is too large.

    """
    batch = _object(body).get("batch")
    if not isinstance(batch, list) or not 0 < len(batch) <= limits.batch:
        raise CallError(400, f"A batch has 1 to {limits.batch} events")
    return [_trigger(fields, limits, check_name) for fields in batch]


def client_of(socket_id: str) -> str | None:
    """Return our client's id in the socket id of its page; None for a socket of Pusher's clients.

    Code that was written for pusher-js sends a socket id where its own page shall not get an event.
    """
    match = _OWN_PAGE.fullmatch(socket_id)
    halves = [int(half) for half in match.groups()] if match else [1 << 32]
    return None if max(halves) >> 32 else "c_" + "".join(f"{half:08x}" for half in halves)


def requested_info(text: object) -> tuple[str, ...]:
    """Return the attributes of the parameter `info`, such as `subscription_count`."""
    return tuple(filter(None, text.split(","))) if isinstance(text, str) else ()


def _trigger(fields: object, limits: CallLimits, check_name: CheckName) -> Trigger:
    if not isinstance(fields, dict):
        raise CallError(400, "The event is not an object")
    data, socket_id = fields.get("data"), fields.get("socket_id")
    channel, name = _channel(fields.get("channel"), check_name), _name(fields.get("name"))
    if not isinstance(data, str):
        raise CallError(400, "data is not a string")
    if len(data.encode()) > limits.data_bytes:
        raise CallError(413, f"The data of {name[:40]} is over {limits.data_bytes} bytes")
    is_id = isinstance(socket_id, str) and SOCKET_ID.fullmatch(socket_id)
    if socket_id is not None and not is_id:
        raise CallError(400, "Invalid socket_id: send the one of pusher.connection")
    info = requested_info(fields.get("info"))
    return Trigger(channel=channel, name=name, data=data, socket_id=socket_id, info=info)


def _channel(name: object, check_name: CheckName) -> str:
    if not isinstance(name, str):
        raise CallError(400, "channel is not a string")
    try:
        check_name(name)
    except ValueError as error:
        raise CallError(400, str(error)) from error
    return name


def _name(name: object) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= NAME_LENGTH:
        raise CallError(400, f"An event's name has 1 to {NAME_LENGTH} characters")
    if name.startswith(RESERVED_EVENTS):
        raise CallError(400, f"{name[:40]} is reserved: choose a name that begins otherwise")
    return name


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        raise CallError(400, "The body is not a JSON object")
    return fields
