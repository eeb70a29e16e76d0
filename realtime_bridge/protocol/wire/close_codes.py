"""Codes with which a WebSocket is closed (RFC 6455 §7.4, docs/specification.md)."""

from enum import IntEnum


class CloseCode(IntEnum):
    """Code of a close frame.

    A client reconnects after 1012 and 4500–4599. After 4400–4499 it reconnects as documented for
    the code alone.
    """

    NORMAL = 1000
    """The side that closes has finished."""

    PROTOCOL_VIOLATION = 1002
    """A frame breaks RFC 6455."""

    NO_CODE = 1005
    """The close frame had no code; never sent on the network."""

    INVALID_TEXT = 1007
    """A text message is not UTF-8."""

    POLICY_VIOLATION = 1008
    """ASGI's code for a rejected upgrade."""

    RESTARTING = 1012
    """The server restarts (IANA's registry of close codes); the client reconnects elsewhere."""

    BAD_MESSAGE = 4400
    """A message is malformed, too large, or over the rate limit."""

    BAD_TOKEN = 4401
    """The token expired or is invalid; the client renews it."""

    FORBIDDEN = 4403
    """Access was revoked."""

    CONNECT_TIMEOUT = 4408
    """No `connect` arrived in time."""

    TOO_MANY_CONNECTIONS = 4409
    """The user has as many connections as allowed; the client polls."""

    DISABLED = 4410
    """Real-time delivery is disabled."""

    INTERNAL_ERROR = 4500
    """The server failed."""

    DRAINING = 4503
    """The server drains its connections."""

    SLOW_READER = 4508
    """The client reads more slowly than events arrive."""

    ROTATED = 4509
    """The connection reached its maximum age."""
