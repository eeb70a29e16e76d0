"""Codes that end a WebSocket connection: RFC 6455's, and those of docs/specification.md §6."""

from enum import IntEnum


class CloseCode(IntEnum):
    """Close code of a connection; codes from 4500 to 4599 invite the client to connect again."""

    NORMAL = 1000
    """This side no longer needs the connection."""
    GOING_AWAY = 1001
    """The other side leaves: a server stops, or a page closes."""
    PROTOCOL_ERROR = 1002
    """A frame breaks RFC 6455."""
    NO_CODE = 1005
    """The close frame has no code; never sent."""
    ABNORMAL = 1006
    """The connection ended without a close frame; never sent."""
    INVALID_TEXT = 1007
    """A text message is not UTF-8."""
    SERVICE_RESTART = 1012
    """The server restarts."""
    PROTOCOL = 4400
    """The client sent an invalid message."""
    TOKEN = 4401
    """The token is missing, invalid or expired."""
    FORBIDDEN = 4403
    """The user has no access."""
    NO_CONNECT = 4408
    """The client sent no `connect` in time."""
    TOO_MANY_CONNECTIONS = 4409
    """The user has too many connections."""
    DISABLED = 4410
    """Push is switched off."""
    UNDELIVERED = 4420
    """A hosted provider delivers nothing; never sent."""
    RATE_LIMIT = 4429
    """The client sends too many messages."""
    INTERNAL = 4500
    """The server failed."""
    DRAINING = 4503
    """The server drains its connections before it stops."""
    SLOW = 4508
    """The client reads too slowly."""
    ROTATED = 4509
    """The connection reached its maximum age."""
