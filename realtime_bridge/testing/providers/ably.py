"""A local Ably: its REST API and its realtime protocol, on the loopback."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Self

from aiohttp import web

from realtime_bridge.testing.providers import ably_wire as wire
from realtime_bridge.testing.providers.ably_api import AblyAPI
from realtime_bridge.testing.providers.ably_channels import Channels
from realtime_bridge.testing.providers.ably_keys import Grant, Keys, now
from realtime_bridge.testing.providers.ably_socket import STATE_MILLISECONDS, AblySocket, Session
from realtime_bridge.testing.providers.ably_wire import Action, RefusedByAbly
from realtime_bridge.testing.providers.faults import Faults


class LocalAbly:
    """One application at an Ably that runs here; an async context manager.

    Args:
        port: where to listen on 127.0.0.1; 0 is any free port.
        key: `APPID.KEYID:SECRET`, for the SDKs and whoever signs tokens.

    """

    def __init__(
        self, *, port: int = 0, key: str = "local.key:known-to-everyone-on-this-machine-alone"
    ) -> None:
        self.key = key
        self.keys = Keys(key)
        self.faults = Faults()
        self.channels = Channels()
        self.calls = self.accepted = 0
        """API calls that were made, and connections that were let in, so far."""
        self.port = port
        self._sockets: set[AblySocket] = set()
        self._sessions: dict[str, Session] = {}
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._exits = AsyncExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """What a deployment sets to use this one."""
        return {
            "REALTIME_BACKEND": "ably",
            "REALTIME_ABLY_KEY": self.key,
            "REALTIME_ABLY_ENDPOINT": "127.0.0.1",
            "REALTIME_ABLY_PORT": str(self.port),
            "REALTIME_ABLY_TLS": "false",
        }

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._sockets)

    def subscribers(self, channel: str) -> int:
        """Return how many connections hear this channel."""
        return len(self.channels.get(channel).subscribers)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=0)
        app.add_routes([*AblyAPI(self).routes(), web.get("/", self._connect)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        self._exits.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.drop()
        await self._exits.aclose()

    def drop(self) -> None:
        """Cut all connections without a word."""
        for socket in list(self._sockets):
            socket.cut()

    def end_all(self, code: int, status: int, message: str) -> None:
        """End all connections as the service does, with this error."""
        for socket in list(self._sockets):
            socket.end(RefusedByAbly(code, status, message))

    def forget(self, session: Session) -> None:
        """Let nobody come back as this connection."""
        self._sessions.pop(session.key, None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until clients that came, went or attached have made `condition` true."""
        if not condition():
            met = asyncio.get_running_loop().create_future()
            self._waiting.append((condition, met))
            await met

    def notify(self) -> None:
        """Let those who wait look again."""
        still = []
        for condition, met in self._waiting:
            if condition() and not met.done():
                met.set_result(None)
            elif not met.done():
                still.append((condition, met))
        self._waiting = still

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        if self.faults.refuse:
            return web.Response(status=503, text="Over capacity")
        opened = web.WebSocketResponse(max_msg_size=1024 * 1024)
        await opened.prepare(request)
        form = wire.named(request.query.get("format", ""))
        try:
            grant = self._grant(request)
        except RefusedByAbly as refused:
            error = {"action": Action.ERROR, "error": refused.to_json()}
            await wire.send(opened, error, form)
            await opened.close()
            return opened
        self.accepted += 1
        session, lost = self._session(request.query.get("resume"))
        echo = request.query.get("echo") != "false"
        await self._serve(AblySocket(self, opened, session, grant, form=form, echo=echo), lost)
        return opened

    async def _serve(self, socket: AblySocket, lost: RefusedByAbly | None) -> None:
        self._sockets.add(socket)
        self.notify()
        try:
            with suppress(ConnectionError):
                await socket.serve(lost)
        finally:
            self._sockets.discard(socket)
            self.notify()

    def _grant(self, request: web.Request) -> Grant:
        query = request.query
        if "key" in query:
            return self.keys.by_key(query["key"])
        token = query.get("access_token") or query.get("accessToken")
        if token:
            return self.keys.by_token(token)
        return self.keys.by_header(request.headers.get("Authorization", ""))

    def _session(self, resumed: str | None) -> tuple[Session, RefusedByAbly | None]:
        """Return the connection that comes back, or a new one and why it is not the old one."""
        before = now() - STATE_MILLISECONDS
        self._sessions = {
            key: one for key, one in self._sessions.items() if one.left is None or one.left > before
        }
        if resumed in self._sessions:
            return self._sessions[resumed], None
        identity = secrets.token_urlsafe(8)
        session = Session(id=identity, key=f"{identity}!{secrets.token_urlsafe(16)}")
        self._sessions[session.key] = session
        lost = RefusedByAbly(80018, 400, "Unable to resume the connection: it is not known")
        return session, lost if resumed else None
