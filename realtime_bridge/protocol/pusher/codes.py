"""Close codes and error codes of Pusher's protocol."""

from enum import IntEnum


class PusherCode(IntEnum):
    """Code that ends a connection, or of a `pusher:error` (Pusher docs, protocol).

    Clients do not connect again after 4000 to 4099, wait before they do after 4100 to 4199, and
    connect again at once after 4200 to 4299.
    """

    APP_UNKNOWN = 4001
    """The key is not the app's."""
    APP_DISABLED = 4003
    """The app is disabled."""
    OVER_QUOTA = 4004
    """Too many connections."""
    BAD_PROTOCOL = 4007
    """The version of the protocol is not supported."""
    NO_PROTOCOL = 4008
    """The client names no version of the protocol."""
    UNAUTHORIZED = 4009
    """A signature is wrong, or access was revoked."""
    MALFORMED = 4010
    """A frame is not valid. Pusher has no code for it; this one is in the range of no return."""
    OVER_CAPACITY = 4100
    """The client sends too much, or reads too slowly."""
    RECONNECT = 4200
    """The server stops: connect to another one."""
    NO_PONG = 4201
    """The client did not answer a ping."""
    INACTIVE = 4202
    """The client subscribes to nothing."""
    CLIENT_EVENT_REJECTED = 4301
    """A client event is not allowed; the connection stays open."""
