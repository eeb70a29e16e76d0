"""What a session is told it may do, and what it tells its shell to do."""

from dataclasses import dataclass

from msgspec import Struct

from realtime_bridge.model.position import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What one connection may ask for."""

    channels: int = 128
    frames_per_second: float = 20.0
    frame_bytes: int = 64 * 1024

    @property
    def burst(self) -> float:
        """The frames that may come at once: two seconds' worth."""
        return 2 * self.frames_per_second


class Send(Struct, frozen=True, gc=False):
    """Write this frame."""

    frame: bytes


class Close(Struct, frozen=True, gc=False):
    """Close the connection, after what was written before."""

    code: int
    reason: str


class Verify(Struct, frozen=True, gc=False):
    """Check this token, then call `admit`, or `reject`."""

    token: str
    nonce: str | None


class Open(Struct, frozen=True, gc=False):
    """Authorise and subscribe, then call `answered`, or `refuse`."""

    channel: str
    position: Position | None


class Leave(Struct, frozen=True, gc=False):
    """Listen to this channel no more."""

    channel: str


Command = Send | Close | Verify | Open | Leave
