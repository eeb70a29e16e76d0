"""Server's state of one connection: messages and time in, commands out."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import check_channel_text
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.session.session_commands import (
    Close,
    Command,
    ConnectionLimits,
    Send,
    Subscribe,
    Unsubscribe,
    VerifyToken,
)
from realtime_bridge.protocol.session.slow_reader import NEVER, SlowReader
from realtime_bridge.protocol.session.subscription import ChannelSubscription, changed_offsets
from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.protocol.wire import client_messages, messages
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.protocol.wire.messages import ProtocolError

# Heartbeats are spread by ±10 %. Connections share these floats: one each would cost 24 bytes.
_PACES = [0.9 + 0.2 * step / 256 for step in range(256)]

BURST_SECONDS = 2.0
"""A client may send the messages of this many seconds at once."""

DEPARTURES = 2
"""A client may leave this many times the channels of one connection at once, and join others."""

MAX_REASON = 120
"""The longest reason of a close, in characters; a close frame holds 123 bytes."""

_NO_REPORT: Mapping[str, Any] = {}
_TIMING = SessionTiming()


class Session:
    """State of one connection.

    Args:
        limits: the limits of the connection.
        timing: the durations of the session.
        draw: a random number in [0, 1) that spreads this connection's heartbeats.
        now: the moment at which the connection opened, in seconds of a monotonic clock.

    """

    __slots__ = (
        "_closed", "_denials", "_expires", "_left", "_left_at", "_limits", "_next_heartbeat",
        "_pace", "_sent", "_sent_at", "_slow_reader", "_timing", "client", "subscriptions",
        "user",
    )  # fmt: skip

    def __init__(
        self,
        limits: ConnectionLimits,
        timing: SessionTiming = _TIMING,
        *,
        draw: float,
        now: float,
    ) -> None:
        self.user: str | None = None
        self.client: str | None = None
        self.subscriptions: dict[str, ChannelSubscription] = {}
        """Subscriptions that were requested and not denied, by channel."""
        self._limits = limits
        self._timing = timing
        self._pace = _PACES[int(draw * len(_PACES))]
        self._next_heartbeat = NEVER
        self._expires = now + timing.connect
        self._sent, self._sent_at = 0.0, now
        self._left, self._left_at = 0.0, now
        self._denials = 0
        self._slow_reader: SlowReader | None = None
        self._closed = False

    @property
    def next_wakeup(self) -> float:
        """The moment at which `tick` has work, in seconds of the clock; infinity is never."""
        if self._closed:
            return NEVER
        moment = min(self._next_heartbeat, self._expires)
        slow = self._slow_reader
        return min(moment, slow.next_wakeup(self._timing)) if slow else moment

    def receive(self, text: str | bytes, now: float) -> list[Command]:
        """Handle a message of the client; bytes are a binary message, which is an error."""
        if self._closed:
            return []
        try:
            return self._handle(client_messages.decode_client(text, self._limits.frame_bytes), now)
        except ProtocolError as error:
            return self.reject(CloseCode.PROTOCOL, str(error))

    def receive_frame(self, now: float) -> list[Command]:
        """Count a control frame or a fragment, which is no message, against the rate limit."""
        if self._closed or self._count_message(now) <= 0:
            return []
        return self.reject(CloseCode.RATE_LIMIT, self._limits.over_rate, code=429)

    def accept(
        self,
        user: str,
        client: str,
        *,
        expires: float,
        now: float,
        nonce: str | None = None,
        report: Mapping[str, Any] = _NO_REPORT,
    ) -> list[Command]:
        """Welcome a client, or renew its token.

        Args:
            user: the user.
            client: the id of the client.
            expires: the moment at which the token expires.
            now: the moment of this call.
            nonce: the nonce of the request; without one a renewal is not answered.
            report: the server's status, for the welcome.

        """
        if self.user is not None and user != self.user:
            return self.reject(CloseCode.TOKEN, "the token is another user's")
        self._expires = expires + self._timing.token_skew
        if self.user is None:
            self.user, self.client = user, client
            self._next_heartbeat = now + self._timing.heartbeat * self._pace
        elif nonce is None:
            return []
        welcome = messages.encode(
            "welcome",
            nonce=nonce,
            client=self.client,
            user=self.user,
            heartbeat=self._timing.heartbeat,
            version=messages.VERSION,
            **report,
        )
        return [Send(welcome)]

    def reject(
        self, close: CloseCode, message: str, *, code: int | None = None, reason: str | None = None
    ) -> list[Command]:
        """Close the connection with an error: a code, a stable word as reason, and a sentence."""
        if self._closed:
            return []
        self._closed = True
        error = messages.encode("error", code=code or close, reason=reason, message=message)
        return [Send(error), Close(close, message[:MAX_REASON])]

    def notify(self, message: bytes) -> list[Command]:
        """Send a message for all clients, if this one was welcomed."""
        return [Send(message)] if self.user is not None and not self._closed else []

    def close(self, code: int, reason: str) -> list[Command]:
        """Close the connection without an error of the client."""
        if self._closed:
            return []
        self._closed = True
        return [Close(code, reason)]

    def subscribe(self, channel: str, position: Position | None) -> list[Command]:
        """Subscribe to a channel, after a position or from now.

        Raises:
            ProtocolError: the channel is being subscribed already.

        """
        try:
            check_channel_text(channel)
        except InvalidEventError as error:
            return self.deny_subscription(channel, 400, str(error))
        subscription = self.subscriptions.get(channel)
        if subscription is None:
            if len(self.subscriptions) >= self._limits.channels:
                limit = f"over {self._limits.channels} channels on one connection"
                return self.deny_subscription(channel, 429, limit)
            subscription = self.subscriptions[channel] = ChannelSubscription(channel)
        elif subscription.opening:
            raise ProtocolError(f"{channel} is being subscribed already")
        else:
            subscription.restart()
        return [Subscribe(subscription, position)]

    def subscription_ready(
        self, subscription: ChannelSubscription, page: Page, *, recovered: bool
    ) -> bytes | None:
        """Return the answer to a subscription with its history; None if it ended meanwhile."""
        channel = subscription.channel
        if self._closed or self.subscriptions.get(channel) is not subscription:
            return None
        subscription.opening, subscription.behind = False, page.more
        subscription.offset, message = messages.encode_subscribed(
            channel, page, recovered=recovered
        )
        return message

    def deny_subscription(self, channel: str, code: int, message: str) -> list[Command]:
        """Deny a subscription: 400 and 403 are final, 429 and 500 are temporary."""
        self.subscriptions.pop(channel, None)
        self._denials += 1
        return [Send(messages.encode("refused", channel=channel, code=code, message=message))]

    def mark_reset(self, channel: str, offset: int) -> None:
        """Store that a reset to an offset was sent, after which the client may subscribe again."""
        if subscription := self.subscriptions.get(channel):
            # A client could repeat a position that does not match: the answer prompts nothing.
            subscription.prompted = not subscription.opening
            # The offset of the old epoch would hide the same one of the new epoch from heartbeats.
            subscription.offset = offset

    def mark_slow(self, now: float, *, unsent: int) -> list[Command]:
        """Hold events back from a slow client, or close the connection the second time."""
        slow, timing = self._slow_reader, self._timing
        if self._closed or (slow and slow.is_behind):
            return []
        if slow and now - slow.slow_at < timing.slow_window:
            return self.reject(CloseCode.SLOW, "too slow, twice in a minute")
        self._slow_reader = SlowReader(now, now, now + timing.progress_check, unsent)
        for subscription in self.subscriptions.values():
            subscription.behind = subscription.prompted = True
        return []

    def hasten_heartbeat(self, now: float, *, within: float) -> None:
        """Send the next heartbeat within some seconds, at another moment than other connections."""
        if self.user is not None:
            moment = now + within * (self._pace - _PACES[0]) / (_PACES[-1] - _PACES[0])
            self._next_heartbeat = min(self._next_heartbeat, moment)

    def mark_progress(self, now: float, *, unsent: int) -> None:
        """Store that a slow client has read some bytes, and the bytes that still wait."""
        if self._slow_reader and self._slow_reader.is_behind:
            self._slow_reader.mark_progress(now, unsent=unsent)

    def tick(
        self,
        now: float,
        top: Callable[[str], int | None],
        *,
        unsent: int,
        report: Mapping[str, Any] = _NO_REPORT,
    ) -> list[Command]:
        """Do the work that is due.

        Args:
            now: the moment of this call.
            top: returns the offset that a channel was fanned out to.
            unsent: the bytes that wait for the client.
            report: the server's status, which each heartbeat repeats: a client may have missed it.

        """
        if self._closed:
            return []
        if now >= self._expires and self.user is None:
            late = f"no connect within {self._timing.connect:g} s"
            return self.reject(CloseCode.NO_CONNECT, late)
        if now >= self._expires:
            return self.reject(CloseCode.TOKEN, "the token has expired", reason="token_expired")
        if self._slow_reader and self._slow_reader.check(now, self._timing, unsent=unsent):
            return self.reject(CloseCode.SLOW, f"nothing read for {self._timing.stalled:g} s")
        if now < self._next_heartbeat:
            return []
        self._next_heartbeat = now + self._timing.heartbeat * self._pace
        fields = {"offsets": changed_offsets(self.subscriptions, top), **report}
        return [Send(messages.encode("heartbeat", **fields))]

    def _handle(self, frame: client_messages.ClientFrame, now: float) -> list[Command]:
        over = 0.0 if self._is_exempt(frame, now) else self._count_message(now)
        if over > 0:
            limit = self._limits.over_rate
            # Pages subscribe and leave whole lists at once: such messages may overdraw the limit.
            list_frames = client_messages.Subscribe | client_messages.Unsubscribe
            if over > self._limits.channels or not isinstance(frame, list_frames):
                return self.reject(CloseCode.RATE_LIMIT, limit, code=429)
            if isinstance(frame, client_messages.Subscribe):
                return self._refuse(frame.channel, 429, limit)
        if self.user is None and not isinstance(frame, client_messages.Connect):
            raise ProtocolError("the first frame is connect")
        return self._answer(frame, now)

    def _answer(self, frame: client_messages.ClientFrame, now: float) -> list[Command]:
        if isinstance(frame, client_messages.Connect | client_messages.Renew):
            return [VerifyToken(frame.token, frame.nonce)]
        if isinstance(frame, client_messages.Ping):
            return [Send(messages.encode("pong", nonce=frame.nonce))]
        if isinstance(frame, client_messages.Unsubscribe):
            commands = self._leave(frame.channels)
            self._count_departures(len(commands), now)
            return commands
        if frame.problem:
            return self._refuse(frame.channel, 400, frame.problem)
        return self.subscribe(frame.channel, frame.position)

    def _refuse(self, channel: str, code: int, message: str) -> list[Command]:
        """Deny a subscription that may be open already."""
        return [*self._leave([channel]), *self.deny_subscription(channel, code, message)]

    def _leave(self, channels: Iterable[str]) -> list[Command]:
        left = [self.subscriptions.pop(channel, None) for channel in channels]
        return [Unsubscribe(subscription) for subscription in left if subscription]

    def _is_exempt(self, frame: client_messages.ClientFrame, now: float) -> bool:
        """Return whether the server caused this message, so that the rate limit spares it."""
        # All channels may be subscribed at once, as their number has its own limit. Denials have
        # a limit too, because each may have cost a rule's query.
        if not isinstance(frame, client_messages.Subscribe):
            return False
        if subscription := self.subscriptions.get(frame.channel):
            return subscription.prompted or subscription.continues_at(frame.position)
        if self._left and self._count_departures(0, now) > 0:
            return False
        return max(len(self.subscriptions), self._denials) < self._limits.channels

    def _count_departures(self, count: int, now: float) -> float:
        """Count channels that were left, and return by how many they are over their limit.

        Each makes room for one more subscription without cost.
        """
        rate = self._limits.frames_per_second
        self._left = max(0.0, self._left - (now - self._left_at) * rate) + count
        self._left_at = now
        return self._left - DEPARTURES * self._limits.channels

    def _count_message(self, now: float) -> float:
        """Count one message, and return by how many the client is over its limit, if positive."""
        # Token bucket, as the number of messages that the rate has not yet made up for.
        rate = self._limits.frames_per_second
        self._sent = max(0.0, self._sent - (now - self._sent_at) * rate) + 1
        self._sent_at = now
        return self._sent - BURST_SECONDS * rate
