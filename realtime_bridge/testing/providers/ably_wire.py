"""What Ably's clients and server write to each other: JSON or msgpack, and errors with a code."""

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
"""A message as it is kept: bytes are bytes, whatever the publisher's format was."""

_KEPT = frozenset({"id", "name", "data", "encoding", "clientId", "extras"})


class Action(IntEnum):
    """What a frame is about."""

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
    AUTH = 17


class Flag(IntFlag):
    """What an attached channel is like."""

    HAS_BACKLOG = 2
    RESUMED = 4
    PUBLISH = 1 << 17
    SUBSCRIBE = 1 << 18


class RefusedByAbly(Exception):  # noqa: N818 -- it is an answer
    """A request, a channel or a connection ends with this error.

    Args:
        code: Ably's own, five digits.
        status: the HTTP status that goes with it.
        message: what was wrong.

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


def named(mime: str) -> Format:
    """Return the format that a media type, or a list of them, asks for."""
    return "msgpack" if "msgpack" in mime else "json"


def encode(value: Any, form: Format) -> bytes:
    """Return `value` in this format."""
    return bytes(msgpack.packb(value)) if form == "msgpack" else orjson.dumps(value)


async def send(socket: web.WebSocketResponse, frame: Frame, form: Format) -> None:
    """Send a frame: JSON as text, msgpack as bytes."""
    data = encode(frame, form)
    await (socket.send_bytes(data) if form == "msgpack" else socket.send_str(data.decode()))


def decode(data: bytes | str, form: Format) -> Any:
    """Read what a client sent.

    Raises:
        RefusedByAbly: it is not of this format.

    """
    try:
        return msgpack.unpackb(data) if form == "msgpack" else orjson.loads(data)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise RefusedByAbly(40000, 400, f"The body is not {form}") from error


def incoming(message: Message) -> Message:
    """Return a client's message as it is kept.

    Raises:
        RefusedByAbly: its data is neither text nor bytes.

    """
    kept = {name: value for name, value in message.items() if name in _KEPT and value is not None}
    data, encoding = kept.get("data"), str(kept.get("encoding") or "")
    if encoding.endswith("base64") and isinstance(data, str):
        kept["data"] = base64.b64decode(data)
        _set_encoding(kept, encoding.removesuffix("base64").removesuffix("/"))
    elif data is not None and not isinstance(data, str | bytes):
        raise RefusedByAbly(40013, 400, "A message's data is a text or bytes")
    return kept


def outgoing(message: Message, form: Format) -> Message:
    """Return a kept message for a client of this format: JSON has no bytes."""
    data = message.get("data")
    if form == "msgpack" or not isinstance(data, bytes):
        return message
    sent = message | {"data": base64.b64encode(data).decode()}
    _set_encoding(sent, "/".join(filter(None, [str(message.get("encoding") or ""), "base64"])))
    return sent


def size(message: Message) -> int:
    """Return how many bytes of a message count."""
    data, extras = message.get("data"), message.get("extras")
    counted = [message.get("name") or "", message.get("clientId") or "", data or ""]
    texts = [one if isinstance(one, bytes) else str(one).encode() for one in counted]
    return sum(map(len, texts)) + (len(orjson.dumps(extras)) if extras else 0)


def _set_encoding(message: Message, encoding: str) -> None:
    if encoding:
        message["encoding"] = encoding
    else:
        message.pop("encoding", None)
