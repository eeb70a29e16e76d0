"""A client's connection, whatever carries it: what its session decides is done here."""

import asyncio
import logging
import random
import time
from abc import abstractmethod
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session import session
from realtime_bridge.protocol.session.session import Session
from realtime_bridge.protocol.session.session_commands import (
    Close,
    Command,
    Leave,
    Open,
    Send,
    Verify,
)
from realtime_bridge.protocol.wire import messages
from realtime_bridge.server.auth.tokens import Principal, TokenError
from realtime_bridge.server.context import ServerContext
from realtime_bridge.server.endpoints.requested_positions import Positions
from realtime_bridge.server.fanout.channel_fanout import Subscriber
from realtime_bridge.server.registry import Client
from realtime_bridge.server.timer_wheel import TimerTarget

CLOSE_SECONDS = 1.0
"""How long a client that reads nothing is given to take the last frames."""

_NO_JOINS: dict[str, asyncio.Task[None]] = {}

_logger = logging.getLogger("realtime_bridge.server")


class Connection(Subscriber, Client, TimerTarget):
    """One open connection. Who carries it says how frames are written, and how it ends."""

    __slots__ = ("_closing", "_engine", "_joins", "_principal", "_reading_history", "_session")

    def __init__(self, engine: ServerContext) -> None:
        super().__init__()
        self._engine = engine
        self._session = Session(
            engine.connection_limits,
            draw=random.random(),  # noqa: S311 -- it spreads heartbeats
            now=time.monotonic(),
            generation=engine.generation,
        )
        self._principal: Principal | None = None
        self._closing: Close | None = None
        self._joins = _NO_JOINS
        self._reading_history: asyncio.Lock | None = None

    @abstractmethod
    def put(self, *written: bytes) -> None:
        """Write these frames, after what was written before."""

    @abstractmethod
    def close(self, command: Close) -> None:
        """Begin to end it, after what was written before."""

    @abstractmethod
    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something for this connection."""

    @property
    @abstractmethod
    def unsent(self) -> int:
        """How many bytes wait for the client."""

    @abstractmethod
    async def has_room(self) -> None:
        """Wait while there is no room: what the client asks for would wait too."""

    @property
    def room(self) -> bool:
        """Whether no more waits for this client than it may."""
        return self.unsent <= self._engine.settings.limit_unsent_bytes

    @property
    def deadline(self) -> float:
        """When to be woken, in `time.monotonic()`'s seconds."""
        return self._session.next_wakeup

    def open(self, principal: Principal | None, positions: Positions) -> None:
        """Begin.

        Args:
            principal: whom it acts for, where that is known before the first frame.
            positions: what it is subscribed to then, each from where.

        """
        self._engine.clients.add(self)
        if principal:
            self._perform(self._admit(principal, None))
        for channel, position in positions.items():
            self._subscribe(channel, position)
        self._schedule()

    def depart(self) -> None:
        """Leave nothing behind."""
        self._engine.clients.discard(self)
        self._engine.wheel.forget(self)
        for join in self._joins.values():
            join.cancel()
        for channel in self._session.channels:
            self._engine.hub.unsubscribe(self, channel)
        if self._principal:
            self._engine.leave(self._principal.user)
            self._principal = None

    def deliver(self, channel: str, frames: Sequence[bytes]) -> bool:
        """Write the events, unless the client is too far behind."""
        if not self._session.live(channel):
            return False
        if not self.room:
            self._perform(self._session.mark_slow(time.monotonic()))
            return False
        self.put(*frames)
        return True

    def subscribed(self, channel: str, page: Page, *, recovered: bool) -> None:
        """Answer a subscription."""
        offset = messages.reached(page).offset
        if self._session.subscription_ready(channel, offset, more=page.more):
            self.put(messages.encode_subscribed(channel, page, recovered=recovered))

    def reset(self, channel: str, reset: Reset) -> None:
        """Pass on that there is a hole."""
        self.put(messages.encode_reset(channel, reset))

    def tell(self, frame: bytes) -> None:
        """Pass on what concerns every client."""
        self._perform(self._session.notify(frame))

    def dismiss(self, code: int, reason: str) -> None:
        """Close it for no fault of the client's."""
        self._perform(self._session.close(code, reason))

    def revoke(self, user: str | None, channel: str | None) -> None:
        """Close it, or end one subscription, where that was this user's."""
        if self._principal is None or user not in (None, self._principal.user):
            return
        if channel is None:
            self._perform(self._session.close(session.FORBIDDEN, "access was revoked"))
        elif self._session.subscribed(channel):
            self._forget(channel)
            self._perform(self._session.deny_subscription(channel, 403, "access was revoked"))

    def take(self, frame: str | bytes) -> None:
        """Take a frame of the client."""
        self._perform(self._session.receive(frame, time.monotonic()))

    def progressed(self) -> None:
        """Note that the client has read something."""
        self._session.mark_progress(time.monotonic(), unsent=self.unsent)

    def wake(self) -> None:
        """Do what the session has to do now."""
        self._perform(self._session.tick(time.monotonic(), self._engine.hub.top))

    def _perform(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, Send):
                self.put(command.frame)
            elif isinstance(command, Verify):
                self._perform(self._verify(command))
            elif isinstance(command, Open):
                joining = {command.channel: self.start(self._join(command))}
                self._joins = self._joins | joining
            elif isinstance(command, Leave):
                self._forget(command.channel)
            else:
                self._closing = command
                self.close(command)
        self._schedule()

    def _verify(self, command: Verify) -> list[Command]:
        try:
            principal = self._engine.tokens.verify(command.token)
        except TokenError as error:
            return self._session.reject(session.TOKEN, str(error))
        if not self._engine.revocations.allow(principal):
            return self._session.reject(session.TOKEN, "access was revoked: sign in anew")
        return self._admit(principal, command.nonce)

    def _admit(self, principal: Principal, nonce: str | None) -> list[Command]:
        seated = self._principal
        if seated is None and not self._engine.seat(principal.user):
            return self._session.reject(session.TOO_MANY, "too many connections of this user")
        if seated is None or seated.user == principal.user:
            self._principal = principal
        now = time.monotonic()
        welcome = self._session.accept(
            principal.user,
            principal.client or "",
            expires=now + principal.expires - time.time(),
            now=now,
            nonce=nonce,
        )
        if seated or self._engine.healthy:
            return welcome
        return welcome + self._session.notify(self._engine.status_frame())

    def _subscribe(self, channel: str, position: Position | None) -> None:
        """Do for the client what its first frames would."""
        where = position.to_json() if position else None
        self.take(messages.encode("subscribe", channel=channel, position=where).decode())

    async def _join(self, command: Open) -> None:
        channel = command.channel
        try:
            refusal = await self._refusal(channel)
            if refusal:
                self._engine.hub.unsubscribe(self, channel)
                self._perform(self._session.deny_subscription(channel, *refusal))
                return
            await self._listen_to(channel, command.position)
        except RealtimeError as error:
            _logger.warning("%s cannot be subscribed now: %s", channel, error)
            self._perform(
                self._session.deny_subscription(channel, 500, "the log cannot be read now")
            )
        except Exception:
            _logger.exception("subscribing %s failed", channel)
            self.dismiss(session.INTERNAL, "the server failed")
        finally:
            if self._joins.get(channel) is asyncio.current_task():
                del self._joins[channel]
            if not self._joins:
                self._joins, self._reading_history = _NO_JOINS, None

    async def _listen_to(self, channel: str, position: Position | None) -> None:
        """Subscribe, one channel after another, so that one page at most waits to be written."""
        if self._reading_history is None:
            self._reading_history = asyncio.Lock()
        async with self._reading_history:
            await self.has_room()
            await self._engine.hub.subscribe(self, channel, position)

    async def _refusal(self, channel: str) -> tuple[int, str] | None:
        """Return why this user may not listen: a rule's no, or a rule that is broken."""
        assert self._principal
        try:
            allowed = await self._engine.allow(self._principal, channel)
        except Exception:
            _logger.exception("the rule of %s failed", channel)
            return 500, "the channel's rule failed"
        return None if allowed else (403, f"{self._principal.user} may not listen to {channel}")

    def _forget(self, channel: str) -> None:
        if join := self._joins.pop(channel, None):
            join.cancel()
        self._engine.hub.unsubscribe(self, channel)

    def _schedule(self) -> None:
        """Be woken when the session has something to do."""
        self._engine.wheel.wake_at(self.deadline, self)
