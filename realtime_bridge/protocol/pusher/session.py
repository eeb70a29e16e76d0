"""Server's state of one connection of Pusher's protocol: frames and time in, commands out."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import orjson
from msgspec import Raw, Struct

from realtime_bridge.model.user import user_text as check_user
from realtime_bridge.protocol.pusher.calls import CheckName
from realtime_bridge.protocol.pusher.codes import PusherCode
from realtime_bridge.protocol.pusher.events import encode_frame
from realtime_bridge.protocol.pusher.names import MEMBERS, USER_CHANNEL
from realtime_bridge.protocol.pusher.session_commands import (
    Command,
    Deny,
    Publish,
    PusherLimits,
    PusherTiming,
    SignIn,
    Subscribe,
    Unsubscribe,
)
from realtime_bridge.protocol.pusher.signatures import PusherApp, channel_text, user_text
from realtime_bridge.protocol.session.session_commands import Close, Send

PROTOCOLS = ("5", "6", "7")

NEVER = float("inf")

BURST_SECONDS = 2.0
"""A client may send the frames of this many seconds at once, beside a subscription per channel."""

MAX_REASON = 120
"""The longest reason of a close, in bytes; a close frame holds 123."""


class _Frame(Struct, gc=False):
    """Frame of a client; its data stays as it is, so that numbers keep their digits."""

    event: str
    channel: str | None = None
    data: Raw = Raw(b"null")


_decode = msgspec.json.Decoder(_Frame).decode


def rejection(app: PusherApp, key: str, protocol: str | None) -> Close | None:
    """Return the close of a client with another key, or another version of the protocol."""
    if key != app.key:
        reason = f"App key {key[:40]} not in this cluster. Did you forget the cluster?"
        return Close(PusherCode.APP_UNKNOWN, _cut(reason))
    if protocol is None:
        return Close(PusherCode.NO_PROTOCOL, "No protocol version was supplied")
    if protocol not in PROTOCOLS:
        return Close(PusherCode.BAD_PROTOCOL, _cut(f"Protocol {protocol[:20]} is not supported"))
    return None


class PusherSession:
    """State of one connection.

    Args:
        app: the credentials, which verify subscriptions and sign-ins.
        check_name: checks the name of a channel.
        socket_id: the id of the connection; digits, a dot and digits.
        limits: the limits of the connection.
        timing: the durations of the connection.
        now: the moment at which the connection opened, in seconds of a monotonic clock.

    """

    __slots__ = (
        "_app", "_check_name", "_client_events", "_closed", "_idle_since", "_limits", "_pinged_at",
        "_received_at", "_sent", "_sent_at", "_timing", "names", "socket_id", "user",
    )  # fmt: skip

    def __init__(
        self,
        app: PusherApp,
        check_name: CheckName,
        socket_id: str,
        limits: PusherLimits,
        timing: PusherTiming,
        *,
        now: float,
    ) -> None:
        self.socket_id: str = socket_id
        self.user: str | None = None
        """User that has signed in."""
        self.names: dict[str, None] = {}
        """Pusher's names of the channels that were requested and not denied."""
        self._app = app
        self._check_name = check_name
        self._limits = limits
        self._timing = timing
        self._received_at = self._sent_at = now
        self._idle_since: float | None = now
        self._pinged_at: float | None = None
        self._sent = 0.0
        self._client_events: deque[float] | None = None
        self._closed = False

    def open(self) -> list[Command]:
        """Greet the client."""
        established = {"socket_id": self.socket_id, "activity_timeout": self._timing.activity}
        return [Send(encode_frame("pusher:connection_established", established))]

    @property
    def next_wakeup(self) -> float:
        """The moment at which `tick` has work, in seconds of the clock; infinity is never."""
        if self._closed:
            return NEVER
        timing, idle_since = self._timing, self._idle_since
        ping = self._received_at + timing.activity
        check = ping if self._pinged_at is None else self._pinged_at + timing.pong
        return check if idle_since is None else min(check, idle_since + timing.idle)

    def receive(self, message: str | bytes, now: float) -> list[Command]:
        """Handle a frame of the client; bytes are a binary message, which is an error."""
        if self._closed:
            return []
        if commands := self.receive_frame(now):
            return commands
        if isinstance(message, bytes):
            return self.reject(PusherCode.MALFORMED, "Binary messages are not supported")
        if len(message.encode(errors="surrogatepass")) > self._limits.frame_bytes:
            return self.reject_oversized()
        try:
            frame = _decode(message)
            data = orjson.loads(bytes(frame.data))
        except (msgspec.DecodeError, orjson.JSONDecodeError, UnicodeEncodeError, RecursionError):
            return self.reject(PusherCode.MALFORMED, "The frame is not a JSON object with an event")
        return self._handle(frame, data, now)

    def receive_frame(self, now: float) -> list[Command]:
        """Count a frame of any kind against the rate limit."""
        if self._closed:
            return []
        self._received_at, self._pinged_at = now, None
        rate = self._limits.frames_per_second
        self._sent = max(0.0, self._sent - (now - self._sent_at) * rate) + 1.0
        self._sent_at = now
        if self._sent <= BURST_SECONDS * rate + self._limits.channels:
            return []
        return self.reject(PusherCode.OVER_CAPACITY, f"Over {rate:g} frames a second")

    def reject_oversized(self) -> list[Command]:
        """Close the connection after a frame over the limit."""
        limit = f"The frame is over {self._limits.frame_bytes:,} bytes"
        return self.reject(PusherCode.MALFORMED, limit)

    def reject(self, code: PusherCode, message: str) -> list[Command]:
        """Close the connection with an error."""
        if self._closed:
            return []
        return [_error(code, message), *self.close(code, message)]

    def close(self, code: int, reason: str) -> list[Command]:
        """Close the connection without an error."""
        if self._closed:
            return []
        self._closed = True
        return [Close(code, _cut(reason))]

    def accept_user(self, user: str, user_data: str) -> list[Command]:
        """Confirm a sign-in."""
        self.user, self._idle_since = user, None
        return [Send(encode_frame("pusher:signin_success", {"user_data": user_data}))]

    def accept_subscription(self, name: str, data: object) -> list[Command]:
        """Confirm a subscription, unless it ended meanwhile; `data` has the presence of others."""
        if self._closed or name not in self.names:
            return []
        return [Send(encode_frame("pusher_internal:subscription_succeeded", data, channel=name))]

    def deny(self, name: str, kind: str, message: str, status: int, now: float) -> list[Command]:
        """Refuse or end a subscription."""
        self._forget(name, now)
        return [] if self._closed else [Deny(name, kind, message, status)]

    def reject_client_event(self, message: str) -> list[Command]:
        """Report that an event of the client was not published; the connection stays open."""
        return [_error(PusherCode.CLIENT_EVENT_REJECTED, message)]

    def tick(self, now: float) -> list[Command]:
        """Do the work that is due."""
        timing = self._timing
        if self._closed:
            return []
        if self._idle_since is not None and now >= self._idle_since + timing.idle:
            silent = f"Nothing subscribed for {timing.idle:g} s"
            return self.reject(PusherCode.INACTIVE, silent)
        if self._pinged_at is not None:
            if now < self._pinged_at + timing.pong:
                return []
            return self.reject(PusherCode.NO_PONG, "Pong reply not received in time")
        if now < self._received_at + timing.activity:
            return []
        self._pinged_at = now
        return [Send(encode_frame("pusher:ping", {}))]

    def _handle(self, frame: _Frame, data: Any, now: float) -> list[Command]:
        event = frame.event
        if event.startswith("client-"):
            return self._publish(frame, now)
        handler = self._handlers.get(event)
        if handler is None:
            return [_error(PusherCode.MALFORMED, f"Unknown event {event[:40]!r}")]
        return handler(self, data if isinstance(data, dict) else {}, now)

    def _answer_ping(self, data: Mapping[str, Any], now: float) -> list[Command]:
        del data, now
        return [Send(encode_frame("pusher:pong", {}))]

    def _ignore(self, data: Mapping[str, Any], now: float) -> list[Command]:
        del data, now
        return []

    def _subscribe(self, data: Mapping[str, Any], now: float) -> list[Command]:
        name, member = data.get("channel"), data.get("channel_data")
        if not isinstance(name, str):
            return [_error(PusherCode.MALFORMED, "pusher:subscribe names no channel")]
        try:
            self._check_name(name)
        except ValueError as error:
            return self.deny(name, "LimitReached", str(error), PusherCode.UNAUTHORIZED, now)
        if not self._may_subscribe(name, data.get("auth"), member):
            return self.deny(name, "AuthError", "The auth signature is wrong", _REFUSED, now)
        if name not in self.names and len(self.names) >= self._limits.channels:
            limit = f"Over {self._limits.channels} channels on one connection"
            return [Deny(name, "LimitReached", limit, PusherCode.UNAUTHORIZED)]
        user = _member(member) if name.startswith(MEMBERS) else None
        if name.startswith(MEMBERS) and user is None:
            return self.deny(name, "AuthError", "channel_data has no user_id", _REFUSED, now)
        self.names[name], self._idle_since = None, None
        return [Subscribe(name, user)]

    def _unsubscribe(self, data: Mapping[str, Any], now: float) -> list[Command]:
        name = data.get("channel")
        return [Unsubscribe(name)] if isinstance(name, str) and self._forget(name, now) else []

    def _forget(self, name: str, now: float) -> bool:
        if name not in self.names:
            return False
        del self.names[name]
        if not self.names and self.user is None:
            self._idle_since = now
        return True

    def _may_subscribe(self, name: str, auth: object, member: object) -> bool:
        # After a sign-in pusher-js subscribes to this channel by itself, with an empty `auth`.
        if name.startswith(USER_CHANNEL):
            return self.user is not None and name == f"{USER_CHANNEL}{self.user}"
        if name.startswith(MEMBERS):
            # No `str` of anything else: that of deep JSON fails.
            if not isinstance(member, str):
                return False
            return self._app.accepts(auth, channel_text(self.socket_id, name, member))
        if not name.startswith("private-"):
            return True
        texts = [channel_text(self.socket_id, name)]
        if isinstance(member, str):
            texts.append(channel_text(self.socket_id, name, member))
        return any(self._app.accepts(auth, text) for text in texts)

    def _sign_in(self, data: Mapping[str, Any], now: float) -> list[Command]:
        del now
        auth, user_data = data.get("auth"), data.get("user_data")
        if not isinstance(user_data, str) or not self._app.accepts(
            auth, user_text(self.socket_id, user_data)
        ):
            return self.reject(PusherCode.UNAUTHORIZED, "The sign-in's signature is wrong")
        user = _user(user_data)
        if user is None or self.user not in (None, user):
            return self.reject(PusherCode.UNAUTHORIZED, "user_data has no id, or another user's")
        return [SignIn(user, user_data)]

    def _publish(self, frame: _Frame, now: float) -> list[Command]:
        limits, name = self._limits, frame.channel
        times = self._client_events = self._client_events or deque(
            maxlen=limits.client_events_per_second
        )
        if not limits.client_events:
            return self.reject_client_event("Client events are off for this app")
        if name not in self.names or not name.startswith(("private-", MEMBERS)):
            reason = "Client events need a subscribed private or presence channel"
            return self.reject_client_event(reason)
        if name.startswith("private-encrypted-"):
            return self.reject_client_event("Encrypted channels have no client events")
        if len(times) == limits.client_events_per_second and now - times[0] < 1:
            rate = f"The rate limit is {limits.client_events_per_second} client events a second"
            return self.reject_client_event(rate)
        times.append(now)
        return [Publish(name, frame.event, bytes(frame.data))]

    _handlers: Mapping[str, Callable[..., list[Command]]] = {
        "pusher:ping": _answer_ping,
        "pusher:pong": _ignore,
        "pusher:subscribe": _subscribe,
        "pusher:unsubscribe": _unsubscribe,
        "pusher:signin": _sign_in,
    }


_REFUSED = 401


def encode_denial(denial: Deny) -> bytes:
    """Return the frame of a refused subscription."""
    error = {"type": denial.kind, "error": denial.message, "status": denial.status}
    return encode_frame("pusher:subscription_error", error, channel=denial.name)


def _cut(reason: str) -> str:
    return reason.encode(errors="replace")[:MAX_REASON].decode(errors="ignore")


def _error(code: PusherCode, message: str) -> Send:
    return Send(encode_frame("pusher:error", {"code": code, "message": message}))


def _user(user_data: str) -> str | None:
    try:
        return check_user(_loads(user_data).get("id"))
    except ValueError:
        return None


def _member(member: object) -> dict[str, Any] | None:
    try:
        fields = _loads(member) if isinstance(member, str) else {}
    except ValueError:
        return None
    return fields if isinstance(fields.get("user_id"), str | int) else None


def _loads(text: str) -> dict[str, Any]:
    fields = orjson.loads(text)
    return fields if isinstance(fields, dict) else {}
