"""Server of a local Pusher Channels: the HTTP API and the WebSocket protocol of one app."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Self

from aiohttp import web

from realtime_bridge.protocol.pusher.codes import PusherCode
from realtime_bridge.testing.providers.pusher.api import PusherAPI
from realtime_bridge.testing.providers.pusher.app import PusherApp
from realtime_bridge.testing.providers.pusher.connection import PusherConnection, rejection


class LocalPusher(PusherApp):
    """Pusher app that is served on the loopback; an async context manager.

    Args:
        port: the port on 127.0.0.1; 0 is any free port.
        app_id: the app's id; digits only, which the SDKs enforce.
        key: the public key with which clients connect.
        secret: the secret that signs calls and subscriptions.
        activity_timeout: the seconds of silence after which clients send a ping.

    """

    def __init__(
        self,
        *,
        port: int = 0,
        app_id: str = "1001",
        key: str = "local-key",
        secret: str = "local-secret",  # noqa: S107 -- of a server that only this machine reaches
        activity_timeout: int = 120,
    ) -> None:
        super().__init__(app_id=app_id, key=key, secret=secret, activity_timeout=activity_timeout)
        self.port: int = port
        self._exits = AsyncExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of a deployment that uses this server."""
        return {
            "REALTIME_BACKEND": "pusher",
            "REALTIME_PUSHER_APP_ID": self.app_id,
            "REALTIME_PUSHER_KEY": self.key,
            "REALTIME_PUSHER_SECRET": self.secret,
            "REALTIME_PUSHER_HOST": "127.0.0.1",
            "REALTIME_PUSHER_PORT": str(self.port),
            "REALTIME_PUSHER_TLS": "false",
        }

    @property
    def connections(self) -> int:
        """Number of connected clients."""
        return len(self.open_connections)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([*PusherAPI(self).routes(), web.get("/app/{key}", self._connect)])
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
        for connection in list(self.open_connections):
            connection.cut()

    async def close_all(self, code: int = PusherCode.RECONNECT, reason: str = "") -> None:
        """Close all connections with this code."""
        connections = list(self.open_connections)
        await asyncio.gather(*(connection.close(code, reason) for connection in connections))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until connections or subscriptions have made `condition` true."""
        await self.changes.until(condition)

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        if self.faults.refuse:
            # Below the WebSocket level: pusher-js has no back-off after a close with 4200.
            return web.Response(status=503, text="Over capacity")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        close = rejection(self, request.match_info["key"], request.query.get("protocol"))
        if close:
            # From protocol 6 on the service sends the close code alone, without `pusher:error`.
            await socket.close(code=close.code, message=close.reason.encode())
            return socket
        self.accepted += 1
        assert request.transport
        connection = PusherConnection(self, socket, request.transport, self.accepted)
        self.open_connections.add(connection)
        self.changes.notify()
        try:
            with suppress(ConnectionError):
                await connection.serve()
        finally:
            self.open_connections.discard(connection)
            self.changes.notify()
        return socket
