"""A client's WebSocket, over ASGI: the session decides, this writes and waits."""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress

from realtime_bridge.backend import Page, Reset
from realtime_bridge.errors import RealtimeError
from realtime_bridge.protocol import frames, session
from realtime_bridge.protocol.session import Close, Command, Leave, Open, Send, Session, Verify
from realtime_bridge.server.auth import Principal, TokenError
from realtime_bridge.server.engine import Engine
from realtime_bridge.server.fan import Subscriber
from realtime_bridge.server.http import Receive, Request, Scope
from realtime_bridge.server.http import Send as ASGISend
from realtime_bridge.server.rules import own_channel

CLOSE_SECONDS = 1.0
"""How long a client that reads nothing is given to take the close frame."""

_logger = logging.getLogger("realtime_bridge.server")


async def serve(
    engine: Engine, request: Request, scope: Scope, receive: Receive, send: ASGISend
) -> None:
    """Answer an upgrade, and serve the connection until it ends.

    Raises:
        HTTPError: the page may not connect.

    """
    engine.check_origin(request)
    user = engine.development_user(request)
    offered = scope.get("subprotocols", ())
    await send(
        {
            "type": "websocket.accept",
            "subprotocol": frames.SUBPROTOCOL if frames.SUBPROTOCOL in offered else None,
        }
    )
    await WebSocketConnection(engine, receive, send).run(user)


class WebSocketConnection(Subscriber):
    """One open connection: a task that reads, and one that empties a bounded outbox."""

    def __init__(self, engine: Engine, receive: Receive, send: ASGISend) -> None:
        self._engine = engine
        self._receive = receive
        self._send = send
        self._session = Session(
            engine.connection_limits,
            draw=random.random(),  # noqa: S311 -- it spreads heartbeats
            now=time.monotonic(),
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

    async def run(self, development_user: Principal | None) -> None:
        """Serve until either side ends it."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                if development_user:
                    self._welcome(development_user)
                tasks = [self._tasks.create_task(self._read())]
                tasks.append(self._tasks.create_task(self._write()))
                self._schedule()
                await self._ended.wait()
                for task in (*tasks, *self._joins.values()):
                    task.cancel()
        finally:
            self._depart()
        await self._close()

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

    async def _read(self) -> None:
        while True:
            await self._room.wait()
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._ended.set()
                return
            text, data = message.get("text"), message.get("bytes")
            self._take(text if text is not None else data or b"")

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._outbox:
                    await self._write_one()
        except OSError:
            self._ended.set()

    async def _write_one(self) -> None:
        frame = self._outbox.popleft()
        await self._send({"type": "websocket.send", "text": frame.decode()})
        self._unsent -= len(frame)
        if self._unsent <= self._engine.settings.limit_unsent_bytes:
            self._room.set()
        self._session.progressed(time.monotonic(), unsent=self._unsent)

    def _take(self, frame: str | bytes) -> None:
        self._perform(self._session.receive(frame, time.monotonic()))

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
        return self._admit(principal, command.nonce)

    def _admit(self, principal: Principal, nonce: str | None) -> list[Command]:
        if self._principal is None and not self._engine.seat(principal.user):
            return self._session.reject(session.TOO_MANY, "too many connections of this user")
        self._principal = principal
        now = time.monotonic()
        return self._session.admit(
            principal.user,
            principal.client or "",
            expires=now + principal.expires - time.time(),
            now=now,
            nonce=nonce,
        )

    def _welcome(self, user: Principal) -> None:
        """Do for a developer what a client does with its first two frames."""
        self._perform(self._admit(user, None))
        self._take(frames.encode("subscribe", channel=own_channel(user.user)).decode())

    async def _join(self, command: Open) -> None:
        channel = command.channel
        try:
            refusal = await self._refusal(channel)
            if refusal:
                self._perform(self._session.refuse(channel, *refusal))
                return
            self._channels.add(channel)
            async with self._reading_history:
                await self._room.wait()
                await self._engine.hub.join(self, channel, command.position)
        except RealtimeError as error:
            _logger.warning("%s cannot be subscribed now: %s", channel, error)
            self._perform(self._session.refuse(channel, 500, "the log cannot be read now"))
        finally:
            self._joins.pop(channel, None)

    async def _refusal(self, channel: str) -> tuple[int, str] | None:
        """Return why this user may not listen: a rule's no, or a rule that is broken."""
        assert self._principal
        try:
            allowed = await self._engine.rules.allow(self._principal, channel)
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
        if self._timer:
            self._timer.cancel()
        for channel in self._channels:
            self._engine.hub.leave(self, channel)
        if self._principal:
            self._engine.leave(self._principal.user)

    async def _close(self) -> None:
        """Write what is left, and the close frame, to a client that still reads."""
        if self._closing is None:
            return
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._outbox:
                    await self._write_one()
                close = {"code": self._closing.code, "reason": self._closing.reason}
                await self._send({"type": "websocket.close", **close})
