"""Messages of clients (docs/specification.md §1)."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from realtime_bridge.model.position import Position
from realtime_bridge.protocol.wire.messages import ProtocolError, decode_object, decode_position

MAX_NONCE = 64
MAX_NAME = 1024 * 1024
MAX_TOKEN = 16 * 1024
"""Longest values of a client's fields, in characters."""


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
