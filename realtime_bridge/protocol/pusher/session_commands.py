"""Limits of a session of Pusher's protocol, and the commands that it returns to its connection."""

from typing import Any

from msgspec import Struct

from realtime_bridge.protocol.session.session_commands import Close, Send


class PusherLimits(Struct, frozen=True, kw_only=True):
    """Limits of one connection.

    Args:
        channels: the most channels at once (Pusher docs, channels).
        frame_bytes: the largest frame of the client.
        frames_per_second: the steady rate of frames from the client.
        client_events: whether clients may send events of their own.
        client_events_per_second: the most of these (Pusher docs, client events).

    """

    channels: int = 100
    frame_bytes: int = 64 * 1024
    frames_per_second: float = 20.0
    client_events: bool = False
    client_events_per_second: int = 10


class PusherTiming(Struct, frozen=True, kw_only=True):
    """Durations of the connections, in seconds.

    Args:
        activity: the silence after which a side sends a ping.
        pong: the time for the answer.
        idle: the time for a first subscription or sign-in, and between two of them.
        vacant: the time for which webhooks count a channel without subscribers as occupied.

    """

    activity: int = 30
    pong: float = 30.0
    idle: float = 60.0
    vacant: float = 3.0


class Subscribe(Struct, frozen=True, gc=False):
    """Subscribe to this name of Pusher's, which was signed if it has to be.

    `member` is the user of a presence channel.
    """

    name: str
    member: dict[str, Any] | None = None


class Unsubscribe(Struct, frozen=True, gc=False):
    """End the subscription to this name."""

    name: str


class Deny(Struct, frozen=True, gc=False):
    """Send the refusal of a subscription."""

    name: str
    kind: str
    message: str
    status: int


class SignIn(Struct, frozen=True, gc=False):
    """Accept this user, whose sign-in was signed, by `accept_user`; or refuse it by `reject`."""

    user: str
    user_data: str


class Publish(Struct, frozen=True, gc=False):
    """Publish this event of the client to the other subscribers; `data` is JSON."""

    name: str
    event: str
    data: bytes


Command = Send | Close | Subscribe | Unsubscribe | Deny | SignIn | Publish
