"""Server of a local Ably: the REST API and the realtime protocol of one application."""

from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Self

from aiohttp import web

from realtime_bridge.testing.providers.ably import protocol
from realtime_bridge.testing.providers.ably.api import AblyAPI
from realtime_bridge.testing.providers.ably.application import AblyApplication
from realtime_bridge.testing.providers.ably.connection import AblyConnection
from realtime_bridge.testing.providers.ably.grant import Grant
from realtime_bridge.testing.providers.ably.protocol import AblyError, Action


class LocalAbly(AblyApplication):
    """Ably application that is served on the loopback; an async context manager.

    Args:
        port: the port on 127.0.0.1; 0 is any free port.
        key: `APPID.KEYID:SECRET`, for the SDKs and for servers that sign tokens.

    """

    def __init__(
        self, *, port: int = 0, key: str = "local.key:known-to-everyone-on-this-machine-alone"
    ) -> None:
        super().__init__(key)
        self.port: int = port
        self._connections: set[AblyConnection] = set()
        self._exits = AsyncExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of a deployment that uses this server."""
        return {
            "REALTIME_BACKEND": "ably",
            "REALTIME_ABLY_KEY": self.key,
            "REALTIME_ABLY_ENDPOINT": "127.0.0.1",
            "REALTIME_ABLY_PORT": str(self.port),
            "REALTIME_ABLY_TLS": "false",
        }

    @property
    def connections(self) -> int:
        """Number of connected clients."""
        return len(self._connections)

    def subscribers(self, channel: str) -> int:
        """Return the number of connections that subscribe to this channel."""
        return len(self.channels.get(channel).subscribers)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=0)  # the API checks the size itself: code 40009
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
        """Reset all connections without a closing handshake."""
        for connection in list(self._connections):
            connection.cut()

    def end_all(self, code: int, status: int, message: str, *, fatal: bool = False) -> None:
        """End all connections with this error, as the service does.

        Args:
            code: Ably's code; 0 sends no error.
            status: the HTTP status that belongs to the code.
            message: the description of the error.
            fatal: whether clients may not connect again: ERROR in place of DISCONNECTED.

        """
        error = AblyError(code, status, message) if code else None
        for connection in list(self._connections):
            connection.end(error, Action.ERROR if fatal else Action.DISCONNECTED)

    def fail_channel(self, name: str, code: int = 50000, status: int = 500) -> None:
        """Send a channel's subscribers an ERROR, which ends this channel alone."""
        error = AblyError(code, status, "The channel failed")
        for connection in list(self._connections):
            connection.fail_channel(name, error)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until connections or attachments have made `condition` true."""
        await self.changes.until(condition)

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        if self.faults.refuse:
            return web.Response(status=503, text="Over capacity")
        socket = web.WebSocketResponse(max_msg_size=1024 * 1024)
        await socket.prepare(request)
        form = protocol.format_of(request.query.get("format", ""))
        try:
            grant = self._grant(request)
        except AblyError as error:
            frame = {"action": Action.ERROR, "error": error.to_json()}
            await protocol.send(socket, frame, form)
            await socket.close()
            return socket
        self.accepted += 1
        await self._serve(request, socket, grant, form)
        return socket

    async def _serve(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        grant: Grant,
        form: protocol.Format,
    ) -> None:
        session, lost = self.sessions.open(request.query.get("resume"))
        echo = request.query.get("echo") != "false"
        connection = AblyConnection(
            self, socket, request.transport, session, grant, form=form, echo=echo
        )
        self._connections.add(connection)
        self.open_connections.add(connection)
        self.changes.notify()
        try:
            with suppress(ConnectionError):
                await connection.serve(lost)
        finally:
            self._connections.discard(connection)
            self.open_connections.discard(connection)
            self.changes.notify()

    def _grant(self, request: web.Request) -> Grant:
        query = request.query
        if "key" in query:
            return self.keys.by_key(query["key"])
        # ably-js sends `access_token`, ably-python `accessToken`.
        token = query.get("access_token") or query.get("accessToken")
        if token:
            return self.keys.by_token(token)
        return self.keys.by_header(request.headers.get("Authorization", ""))
