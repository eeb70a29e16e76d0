"""A local Pusher Channels: its WebSocket protocol and its HTTP API, on the loopback."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any, Literal, Self

from aiohttp import web

from realtime_bridge.testing.providers.faults import Faults
from realtime_bridge.testing.providers.pusher_api import PusherAPI
from realtime_bridge.testing.providers.pusher_channels import Channels
from realtime_bridge.testing.providers.pusher_socket import UNAUTHORIZED, PusherSocket, refusal

AppState = Literal["enabled", "disabled", "over its quota"]

RECONNECT = 4200
"""The close code that asks clients to come back at once."""


class LocalPusher:
    """One app of a Pusher cluster that runs here; an async context manager.

    Args:
        port: where to listen on 127.0.0.1; 0 is any free port.
        app_id: digits only, as the SDKs insist.
        key: what clients connect with.
        secret: what calls and subscriptions are signed with.
        activity: seconds of silence after which clients ask whether we are there.

    """

    def __init__(
        self,
        *,
        port: int = 0,
        app_id: str = "1001",
        key: str = "local-key",
        secret: str = "local-secret",  # noqa: S107 -- of a server that only this machine reaches
        activity: int = 120,
    ) -> None:
        self.app_id = app_id
        self.key = key
        self.secret = secret
        self.activity = activity
        self.state: AppState = "enabled"
        self.faults = Faults()
        self.channels = Channels()
        self.calls = self.accepted = 0
        """API calls that were made, and sockets that were let in, so far."""
        self.callers: set[object] = set()
        """The connections that the calls came on."""
        self.port = port
        self._sockets: set[PusherSocket] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._exits = AsyncExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """What a deployment sets to use this one."""
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
        """How many clients are connected."""
        return len(self._sockets)

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
        """Cut all connections without a word."""
        for socket in list(self._sockets):
            socket.cut()

    async def close_all(self, code: int = RECONNECT, reason: str = "") -> None:
        """Close all connections with this code."""
        await asyncio.gather(*(socket.close(code, reason) for socket in list(self._sockets)))

    def terminate(self, user: str) -> None:
        """Close the connections of a user who has signed in."""
        for socket in [one for one in self._sockets if one.user == user]:
            self.soon(socket.close(UNAUTHORIZED, "Terminated"))

    def soon(self, closing: Coroutine[Any, Any, None]) -> None:
        """Let it run beside what called."""
        task = asyncio.get_running_loop().create_task(closing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until clients that came, went or subscribed have made `condition` true."""
        while not condition():
            await self._changed.wait()

    def notify(self) -> None:
        """Let those who wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        if self.faults.refuse:
            return web.Response(status=503, text="Over capacity")
        opened = web.WebSocketResponse()
        await opened.prepare(request)
        no = refusal(self, request.match_info["key"], request.query.get("protocol"))
        if no:
            await opened.close(code=no[0], message=no[1].encode())
            return opened
        self.accepted += 1
        assert request.transport
        socket = PusherSocket(self, opened, request.transport, self.accepted)
        self._sockets.add(socket)
        self.notify()
        try:
            with suppress(ConnectionError):
                await socket.serve()
        finally:
            self._sockets.discard(socket)
            self.notify()
        return opened
