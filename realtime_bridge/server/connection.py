"""A client's connection, whatever carries it: the session decides, this writes and waits."""

import asyncio
import logging
import random
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress

from realtime_bridge.backend import Page, Reset
from realtime_bridge.errors import RealtimeError
from realtime_bridge.event import Position
from realtime_bridge.protocol import frames, session
from realtime_bridge.protocol.session import Close, Command, Leave, Open, Send, Session, Verify
from realtime_bridge.server.auth import Principal, TokenError
from realtime_bridge.server.clients import Client
from realtime_bridge.server.engine import Engine
from realtime_bridge.server.fan import Subscriber
from realtime_bridge.server.positions import Positions

CLOSE_SECONDS = 1.0
"""How long a client that reads nothing is given to take the last frames."""

GONE = (OSError, RuntimeError)
"""What sending raises when the client is gone, depending on the server."""

_logger = logging.getLogger("realtime_bridge.server")


class Connection(Subscriber, Client):
    """One open connection: a task that listens, and one that empties a bounded outbox."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._session = Session(
            engine.connection_limits,
            draw=random.random(),  # noqa: S311 -- it spreads heartbeats
            now=time.monotonic(),
            generation=engine.generation,
        )
        self._principal: Principal | None = None
        self._outbox: deque[bytes] = deque()
        self._unsent = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._reading_history = asyncio.Lock()
        self._ended = asyncio.Event()
        self._closing: Close | None = None
        self._joins: dict[str, asyncio.Task[None]] = {}
        self._channels: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    @abstractmethod
    async def write(self, frame: bytes) -> None:
        """Hand one frame to the network, waiting while it is full."""

    @abstractmethod
    async def listen(self) -> None:
        """Take what the client sends, until it is gone."""

    async def run(self, principal: Principal | None, positions: Positions) -> None:
        """Serve until either side ends it.

        Args:
            principal: whom it acts for, where that is known before the first frame.
            positions: what it is subscribed to then, each from where.

        """
        self._engine.clients.add(self)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                if principal:
                    self._perform(self._admit(principal, None))
                for channel, position in positions.items():
                    self._subscribe(channel, position)
                tasks = [self._tasks.create_task(self._listen())]
                tasks.append(self._tasks.create_task(self._write()))
                self._schedule()
                await self._ended.wait()
                for task in (*tasks, *self._joins.values()):
                    task.cancel()
        finally:
            self._depart()

    async def finish(self) -> Close | None:
        """Write what is left, to a client that still reads, and return how the session closed."""
        if self._closing:
            with suppress(*GONE):
                async with asyncio.timeout(CLOSE_SECONDS):
                    while self._outbox:
                        await self._write_one()
        return self._closing

    def deliver(self, channel: str, frames: Sequence[bytes]) -> bool:
        """Put the events into the outbox, unless the client is too far behind."""
        if not self._session.live(channel):
            return False
        if not self._room.is_set():
            self._perform(self._session.overflow(time.monotonic()))
            return False
        for frame in frames:
            self._put(frame)
        return True

    def subscribed(self, channel: str, page: Page, *, recovered: bool) -> None:
        """Answer a subscription."""
        offset = frames.reached(page).offset
        if self._session.answered(channel, offset, more=page.more):
            self._put(frames.encode_subscribed(channel, page, recovered=recovered))

    def reset(self, channel: str, reset: Reset) -> None:
        """Pass on that there is a hole."""
        self._put(frames.encode_reset(channel, reset))

    def tell(self, frame: bytes) -> None:
        """Pass on what concerns every client."""
        self._perform(self._session.inform(frame))

    def dismiss(self, code: int, reason: str) -> None:
        """Close it for no fault of the client's."""
        self._perform(self._session.dismiss(code, reason))

    def revoke(self, user: str | None, channel: str | None) -> None:
        """Close it, or end one subscription, where that was this user's."""
        if self._principal is None or user not in (None, self._principal.user):
            return
        if channel is None:
            self._perform(self._session.dismiss(session.FORBIDDEN, "access was revoked"))
        elif self._session.subscribed(channel):
            self._forget(channel)
            self._perform(self._session.refuse(channel, 403, "access was revoked"))

    def take(self, frame: str | bytes) -> None:
        """Take a frame of the client."""
        self._perform(self._session.receive(frame, time.monotonic()))

    async def has_room(self) -> None:
        """Wait while more waits for this client than it may: what it asks for would wait too."""
        await self._room.wait()

    async def _listen(self) -> None:
        await self.listen()
        self._ended.set()

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._outbox:
                    await self._write_one()
        except GONE:
            self._ended.set()

    async def _write_one(self) -> None:
        frame = self._outbox.popleft()
        await self.write(frame)
        self._unsent -= len(frame)
        if self._unsent <= self._engine.settings.limit_unsent_bytes:
            self._room.set()
        self._session.progressed(time.monotonic(), unsent=self._unsent)

    def _perform(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, Send):
                self._put(command.frame)
            elif isinstance(command, Verify):
                self._perform(self._verify(command))
            elif isinstance(command, Open):
                self._joins[command.channel] = self._tasks.create_task(self._join(command))
            elif isinstance(command, Leave):
                self._forget(command.channel)
            else:
                self._closing = command
                self._ended.set()
        self._schedule()

    def _put(self, frame: bytes) -> None:
        self._outbox.append(frame)
        self._unsent += len(frame)
        if self._unsent > self._engine.settings.limit_unsent_bytes:
            self._room.clear()
        self._wake.set()

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
        welcome = self._session.admit(
            principal.user,
            principal.client or "",
            expires=now + principal.expires - time.time(),
            now=now,
            nonce=nonce,
        )
        if seated or self._engine.healthy:
            return welcome
        return welcome + self._session.inform(self._engine.status_frame())

    def _subscribe(self, channel: str, position: Position | None) -> None:
        """Do for the client what its first frames would."""
        where = position.to_json() if position else None
        self.take(frames.encode("subscribe", channel=channel, position=where).decode())

    async def _join(self, command: Open) -> None:
        channel = command.channel
        try:
            refusal = await self._refusal(channel)
            if refusal:
                self._engine.hub.leave(self, channel)
                self._perform(self._session.refuse(channel, *refusal))
                return
            self._channels.add(channel)
            async with self._reading_history:
                await self.has_room()
                await self._engine.hub.join(self, channel, command.position)
        except RealtimeError as error:
            _logger.warning("%s cannot be subscribed now: %s", channel, error)
            self._perform(self._session.refuse(channel, 500, "the log cannot be read now"))
        finally:
            if self._joins.get(channel) is asyncio.current_task():
                del self._joins[channel]

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
        self._channels.discard(channel)
        self._engine.hub.leave(self, channel)

    def _schedule(self) -> None:
        """Wake up when the session has something to do."""
        deadline = self._session.deadline
        if self._timer is not None:
            if self._timer_at == deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        if deadline < float("inf"):
            wait = max(0.0, deadline - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._perform(self._session.tick(time.monotonic(), self._engine.hub.top))

    def _depart(self) -> None:
        self._engine.clients.discard(self)
        if self._timer:
            self._timer.cancel()
        for channel in self._channels:
            self._engine.hub.leave(self, channel)
        if self._principal:
            self._engine.leave(self._principal.user)
