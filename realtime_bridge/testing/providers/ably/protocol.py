"""Frames, messages and errors of Ably's protocols, in JSON and in msgpack.

Numbers of actions and flags: Ably specification, `protocol.md` and `features.md`.
"""

import base64
from collections.abc import Mapping
from enum import IntEnum, IntFlag
from typing import Any, Literal

import msgpack
import orjson
from aiohttp import web

Format = Literal["json", "msgpack"]

CONTENT_TYPES: Mapping[Format, str] = {
    "json": "application/json",
    "msgpack": "application/x-msgpack",
}

Frame = dict[str, Any]
"""A `ProtocolMessage` of the realtime protocol."""

Message = dict[str, Any]
"""A stored message; its data is text or bytes, independent of the publisher's format."""

_STORED_FIELDS = frozenset({"id", "name", "data", "encoding", "clientId", "extras"})


class Action(IntEnum):
    """Kind of a frame."""

    HEARTBEAT = 0
    ACK = 1
    NACK = 2
    CONNECTED = 4
    DISCONNECTED = 6
    CLOSE = 7
    CLOSED = 8
    ERROR = 9
    ATTACH = 10
    ATTACHED = 11
    DETACH = 12
    DETACHED = 13
    PRESENCE = 14
    MESSAGE = 15
    SYNC = 16
    AUTH = 17


class PresenceAction(IntEnum):
    """Kind of a presence message."""

    PRESENT = 1
    ENTER = 2
    LEAVE = 3
    UPDATE = 4


class Flag(IntFlag):
    """Properties of an attached channel."""

    HAS_PRESENCE = 1
    HAS_BACKLOG = 2
    RESUMED = 4
    PRESENCE = 1 << 16
    PUBLISH = 1 << 17
    SUBSCRIBE = 1 << 18
    PRESENCE_SUBSCRIBE = 1 << 19


class AblyError(Exception):
    """Error response to a request, an attachment or a connection.

    Args:
        code: Ably's own code of five digits, from its list of error codes.
        status: the HTTP status that belongs to the code.
        message: the description of the error.

    """

    def __init__(self, code: int, status: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message

    def to_json(self) -> dict[str, Any]:
        """Return the `ErrorInfo` that clients read."""
        return {
            "code": self.code,
            "statusCode": self.status,
            "message": self.message,
            "href": f"https://help.ably.io/error/{self.code}",
        }


def format_of(mime: str) -> Format:
    """Return the format that a media type, or a list of media types, requests."""
    return "msgpack" if "msgpack" in mime else "json"


def encode(value: Any, form: Format) -> bytes:
    """Return `value` in this format."""
    return bytes(msgpack.packb(value)) if form == "msgpack" else orjson.dumps(value)


async def send(socket: web.WebSocketResponse, frame: Frame, form: Format) -> None:
    """Send a frame: JSON as a text frame, msgpack as a binary frame."""
    data = encode(frame, form)
    await (socket.send_bytes(data) if form == "msgpack" else socket.send_str(data.decode()))


def decode(data: bytes | str, form: Format) -> Any:
    """Parse data from a client.

    Raises:
        AblyError: 40000, the data has another format.

    """
    try:
        return msgpack.unpackb(data) if form == "msgpack" else orjson.loads(data)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise AblyError(40000, 400, f"The body is not {form}") from error


def parse_message(message: Message) -> Message:
    """Convert a client's message to its stored form.

    Raises:
        AblyError: 40013, the data is neither text nor bytes.

    """
    fields = {
        name: value
        for name, value in message.items()
        if name in _STORED_FIELDS and value is not None
    }
    data, encoding = fields.get("data"), str(fields.get("encoding") or "")
    # Encodings are read from right to left: base64 is the outermost layer.
    if encoding.endswith("base64") and isinstance(data, str):
        fields["data"] = base64.b64decode(data)
        _set_encoding(fields, encoding.removesuffix("base64").removesuffix("/"))
    elif data is not None and not isinstance(data, str | bytes):
        raise AblyError(40013, 400, "A message's data is a text or bytes")
    return fields


def render_message(message: Message, form: Format) -> Message:
    """Convert a stored message to a client's format; JSON carries bytes as base64."""
    data = message.get("data")
    if form == "msgpack" or not isinstance(data, bytes):
        return message
    rendered = message | {"data": base64.b64encode(data).decode()}
    _set_encoding(rendered, "/".join(filter(None, [str(message.get("encoding") or ""), "base64"])))
    return rendered


def message_bytes(message: Message) -> int:
    """Return the size of a message as Ably counts it: name, client id, data and extras."""
    data, extras = message.get("data"), message.get("extras")
    counted_fields = [message.get("name") or "", message.get("clientId") or "", data or ""]
    encoded = [
        field if isinstance(field, bytes) else str(field).encode() for field in counted_fields
    ]
    return sum(map(len, encoded)) + (len(orjson.dumps(extras)) if extras else 0)


def _set_encoding(message: Message, encoding: str) -> None:
    if encoding:
        message["encoding"] = encoding
    else:
        message.pop("encoding", None)
