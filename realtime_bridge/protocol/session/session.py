"""One connection as the server sees it: frames and time in, commands out."""

from collections.abc import Callable, Iterable

from msgspec import Struct

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import check_channel
from realtime_bridge.protocol.session.session_commands import (
    Close,
    Command,
    ConnectionLimits,
    Leave,
    Open,
    Send,
    Verify,
)
from realtime_bridge.protocol.wire import messages
from realtime_bridge.protocol.wire.messages import ProtocolError

CONNECT_SECONDS = 5.0
"""How long a connection may stay without a valid `connect`."""

HEARTBEAT_SECONDS = 10.0
_PACES = [0.9 + 0.2 * step / 256 for step in range(256)]
"""What spreads the heartbeats of connections; they share these, for a float each costs memory."""

SKEW_SECONDS = 30.0
"""How long after its expiry a token is still taken, for clocks that differ."""

HEARTBEAT_OFFSETS = 50
"""The most channels one heartbeat speaks of; the rest wait for the next."""

STALLED_SECONDS = 10.0
DEMOTION_WINDOW = 60.0
"""Demoted twice within this many seconds, a slow reader is disconnected."""

_NEVER, _LONG_AGO = float("inf"), float("-inf")

PROTOCOL, TOKEN, FORBIDDEN, NO_CONNECT, TOO_MANY = 4400, 4401, 4403, 4408, 4409
INTERNAL, SLOW = 4500, 4508


class _Subscription(Struct, gc=False):
    """What the client was told of a channel; `behind` until it is live."""

    told: int = 0
    behind: bool = True
    opening: bool = True


class Session:
    """The state of one connection. `now` is in seconds of a clock that never goes back.

    Args:
        limits: what the connection may ask for.
        draw: a random number in [0, 1) that spreads this connection's heartbeats.
        now: when it was opened.
        generation: of the delivering configuration; clients move when it grows.

    """

    __slots__ = (
        "_allowance",
        "_allowance_at",
        "_closed",
        "_demoted_at",
        "_expires",
        "_generation",
        "_limits",
        "_next_heartbeat",
        "_pace",
        "_refusals",
        "_stalled_since",
        "_subscriptions",
        "client",
        "user",
    )

    def __init__(
        self, limits: ConnectionLimits, *, draw: float, now: float, generation: int = 0
    ) -> None:
        self.user: str | None = None
        self.client: str | None = None
        self._limits = limits
        self._generation = generation
        self._pace = _PACES[int(draw * len(_PACES))]
        self._next_heartbeat = _NEVER
        self._expires = now + CONNECT_SECONDS
        self._allowance = limits.burst
        self._allowance_at = now
        self._subscriptions: dict[str, _Subscription] = {}
        self._refusals = 0
        self._demoted_at = _LONG_AGO
        self._stalled_since = _NEVER
        self._closed = False

    @property
    def deadline(self) -> float:
        """When `tick` has something to do."""
        if self._closed:
            return _NEVER
        return min(self._next_heartbeat, self._expires, self._stalled_since + STALLED_SECONDS)

    def receive(self, text: str | bytes, now: float) -> list[Command]:
        """Take a frame from the client; bytes are a binary frame, which nobody sends."""
        if self._closed:
            return []
        try:
            return self._handle(self._decode(text), now)
        except ProtocolError as error:
            return self._fail(PROTOCOL, str(error))

    def oversized(self) -> list[Command]:
        """Take the word that a frame is over the limit, from whoever does not keep so much."""
        return [] if self._closed else self._fail(PROTOCOL, self._too_large())

    def admit(
        self, user: str, client: str, *, expires: float, now: float, nonce: str | None = None
    ) -> list[Command]:
        """Welcome the client whose token was good until `expires`."""
        if self.user is not None and user != self.user:
            return self._fail(TOKEN, "the token is another user's")
        self._expires = expires + SKEW_SECONDS
        if self.user is not None:
            return [Send(self._welcome(nonce))] if nonce is not None else []
        self.user, self.client = user, client
        self._next_heartbeat = now + HEARTBEAT_SECONDS * self._pace
        return [Send(self._welcome(nonce))]

    def reject(self, code: int, message: str) -> list[Command]:
        """Turn the client away."""
        return self._fail(code, message)

    def inform(self, frame: bytes) -> list[Command]:
        """Pass on what concerns every client that was welcomed."""
        return [Send(frame)] if self.user is not None and not self._closed else []

    def dismiss(self, code: int, reason: str) -> list[Command]:
        """End the connection for no fault of the client's."""
        if self._closed:
            return []
        self._closed = True
        return [Close(code, reason)]

    def answered(self, channel: str, offset: int, *, more: bool) -> bool:
        """Note where a subscription stands; False when it was given up meanwhile."""
        subscription = self._subscriptions.get(channel)
        if subscription is None or self._closed:
            return False
        subscription.opening = False
        subscription.behind = more
        subscription.told = offset
        return True

    def refuse(self, channel: str, code: int, message: str) -> list[Command]:
        """Answer a subscription with no: 400 and 403 for good, 429 and 500 for now."""
        self._subscriptions.pop(channel, None)
        self._refusals += 1
        return [Send(messages.encode("refused", channel=channel, code=code, message=message))]

    def overflow(self, now: float) -> list[Command]:
        """Note that the client reads too slowly: from push to pull, or out."""
        if self._closed or self._stalled_since != _NEVER:
            return []
        if now - self._demoted_at < DEMOTION_WINDOW:
            return self._fail(SLOW, "too slow, twice in a minute")
        self._demoted_at = self._stalled_since = now
        for subscription in self._subscriptions.values():
            subscription.behind = True
        return []

    def live(self, channel: str) -> bool:
        """Tell whether events of `channel` may be written: it is subscribed, and not behind."""
        subscription = self._subscriptions.get(channel)
        return subscription is not None and not subscription.behind

    @property
    def channels(self) -> Iterable[str]:
        """What the client asked for, and was not refused."""
        return self._subscriptions

    def subscribed(self, channel: str) -> bool:
        """Tell whether the client asked for `channel`, and was not refused."""
        return channel in self._subscriptions

    def progressed(self, now: float, *, unsent: int) -> None:
        """Note that a slow client has read something, and how many bytes wait for it still."""
        if self._stalled_since != _NEVER:
            self._stalled_since = now if unsent else _NEVER

    def tick(self, now: float, top: Callable[[str], int | None]) -> list[Command]:
        """Do what is due; `top` tells the offset that a channel was fanned out to."""
        if self._closed:
            return []
        if now >= self._expires:
            if self.user is None:
                return self._fail(NO_CONNECT, f"no connect within {CONNECT_SECONDS:g} s")
            return self._fail(TOKEN, "the token has expired")
        if now >= self._stalled_since + STALLED_SECONDS:
            return self._fail(SLOW, f"nothing read for {STALLED_SECONDS:g} s")
        if now < self._next_heartbeat:
            return []
        self._next_heartbeat = now + HEARTBEAT_SECONDS * self._pace
        offsets = self._moved(top)
        return [Send(messages.encode("heartbeat", offsets=offsets, generation=self._generation))]

    def _decode(self, text: str | bytes) -> messages.ClientFrame:
        if isinstance(text, bytes):
            raise ProtocolError("binary frames are not spoken here, send text")
        if len(text) > self._limits.frame_bytes or (
            len(text) * 4 > self._limits.frame_bytes
            and len(text.encode(errors="surrogatepass")) > self._limits.frame_bytes
        ):
            raise ProtocolError(self._too_large())
        return messages.decode_client(text)

    def _too_large(self) -> str:
        return f"the frame is over {self._limits.frame_bytes:,} bytes"

    def _handle(self, frame: messages.ClientFrame, now: float) -> list[Command]:
        if not self._free(frame) and not self._afford(now):
            return self._fail(
                PROTOCOL, f"over {self._limits.frames_per_second:g} frames a second", code=429
            )
        if isinstance(frame, messages.Connect):
            return [Verify(frame.token, frame.nonce)]
        if self.user is None:
            raise ProtocolError("the first frame is connect")
        if isinstance(frame, messages.Renew):
            return [Verify(frame.token, None)]
        if isinstance(frame, messages.Ping):
            return [Send(messages.encode("pong", nonce=frame.nonce))]
        if isinstance(frame, messages.Subscribe):
            return self._subscribe(frame)
        return [Leave(frame.channel)] if self._subscriptions.pop(frame.channel, None) else []

    def _subscribe(self, frame: messages.Subscribe) -> list[Command]:
        channel = frame.channel
        try:
            check_channel(channel)
        except InvalidEventError as error:
            return self.refuse(channel, 400, str(error))
        known = self._subscriptions.get(channel)
        if known is None and len(self._subscriptions) >= self._limits.channels:
            return self.refuse(
                channel, 429, f"over {self._limits.channels} channels on one connection"
            )
        if known and known.opening:
            raise ProtocolError(f"{channel} is being subscribed already")
        self._subscriptions[channel] = _Subscription()
        return [Open(channel, frame.position)]

    def _free(self, frame: messages.ClientFrame) -> bool:
        """Tell whether we asked for this frame: a new channel, or one that we left behind.

        So all channels of a connection can be subscribed at once; their number has its own limit,
        and so has the number of refusals, each of which may have cost a rule's query.
        """
        if not isinstance(frame, messages.Subscribe):
            return False
        known = self._subscriptions.get(frame.channel)
        if known:
            return known.behind
        return max(len(self._subscriptions), self._refusals) < self._limits.channels

    def _afford(self, now: float) -> bool:
        """Take one frame from the token bucket."""
        earned = (now - self._allowance_at) * self._limits.frames_per_second
        self._allowance = min(self._limits.burst, self._allowance + earned) - 1
        self._allowance_at = now
        return self._allowance >= 0

    def _moved(self, top: Callable[[str], int | None]) -> dict[str, int]:
        """Collect the channels to speak of; those told go last in line for the next heartbeat."""
        moved: dict[str, int] = {}
        for channel, subscription in self._subscriptions.items():
            offset = None if subscription.opening else top(channel)
            if offset is not None and offset != subscription.told:
                moved[channel] = subscription.told = offset
            if len(moved) == HEARTBEAT_OFFSETS:
                break
        for channel in moved:
            self._subscriptions[channel] = self._subscriptions.pop(channel)
        return moved

    def _welcome(self, nonce: str | None) -> bytes:
        return messages.encode(
            "welcome",
            nonce=nonce,
            client=self.client,
            user=self.user,
            heartbeat=HEARTBEAT_SECONDS,
            generation=self._generation,
            version=messages.VERSION,
        )

    def _fail(self, close_code: int, message: str, *, code: int | None = None) -> list[Command]:
        self._closed = True
        error = messages.encode("error", code=code or close_code, message=message)
        return [Send(error), Close(close_code, message[:120])]
