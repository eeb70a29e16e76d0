"""Limits of a session, and the commands that it returns to its connection."""

from dataclasses import dataclass

from msgspec import Struct

from realtime_bridge.model.position import Position
from realtime_bridge.protocol.session.subscription import ChannelSubscription


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Limits of one connection.

    Args:
        channels: the most channels at once.
        frames_per_second: the steady rate of messages from the client.
        frame_bytes: the largest message from the client.

    """

    channels: int = 400
    frames_per_second: float = 20.0
    frame_bytes: int = 64 * 1024

    @property
    def over_rate(self) -> str:
        """Message to a client over the rate."""
        return f"over {self.frames_per_second:g} frames a second"


class Send(Struct, frozen=True, gc=False):
    """Write this message."""

    message: bytes


class Close(Struct, frozen=True, gc=False):
    """Close the connection after the messages before it are written."""

    code: int
    reason: str


class VerifyToken(Struct, frozen=True, gc=False):
    """Verify this token, then call `accept` or `reject`."""

    token: str
    nonce: str | None


class Subscribe(Struct, frozen=True, gc=False):
    """Authorize and subscribe, then call `subscription_ready` or `deny_subscription`."""

    subscription: ChannelSubscription
    position: Position | None


class Unsubscribe(Struct, frozen=True, gc=False):
    """End this subscription."""

    subscription: ChannelSubscription


Command = Send | Close | VerifyToken | Subscribe | Unsubscribe
