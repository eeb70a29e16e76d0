"""Server process of a simulation: the real bridge, started by its lifespan."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from realtime_bridge.server.bridge import Bridge
from realtime_bridge.server.http.request import Message
from realtime_bridge.testing.simulation.asgi_socket import ASGISocket
from realtime_bridge.testing.simulation.deployment import SECRET
from realtime_bridge.testing.simulation.fast_socket import FastSocket
from realtime_bridge.testing.simulation.http_exchange import HTTPExchange
from realtime_bridge.testing.simulation.inbox import Inbox
from realtime_bridge.testing.simulation.log_link import LogConnection
from realtime_bridge.testing.simulation.network import Link
from realtime_bridge.testing.simulation.process import Process
from realtime_bridge.testing.simulation.virtual_loop import VirtualLoop

OK = 200


class Node:
    """Server that starts, stops, and can be killed or frozen.

    Args:
        loop: the event loop.
        number: the number of the server.
        create_bridge: creates the bridge of a new process.
        log: the way to the log.
        is_fast: whether its WebSockets use the fast shell.
        clock_offset: the seconds by which its wall clock is wrong.

    """

    def __init__(
        self,
        loop: VirtualLoop,
        number: int,
        create_bridge: Callable[["Node"], Bridge],
        *,
        log: LogConnection,
        is_fast: bool,
        clock_offset: float,
    ) -> None:
        self.loop = loop
        self.name: str = f"node {number}"
        self.log: LogConnection = log
        self.configuration: int = 0
        """Number of the configuration that the process starts with."""
        self.secret: str = SECRET
        """Secrets that the process starts with."""
        self.is_up: bool = False
        self.is_ready: bool = False
        """Result of the last readiness check."""
        self.process: Process = Process(self.name)
        self.state: dict[str, Any] = {}
        self.exchanges: dict[HTTPExchange, None] = {}
        self.sockets: dict[ASGISocket | FastSocket, None] = {}
        self.uvicorn_connections: set[Any] = set()
        self.bridge: Bridge
        self._create_bridge = create_bridge
        self._is_fast = is_fast
        self._clock_offset = clock_offset
        self._is_checking = False
        self._lifespan: Inbox[Message] = Inbox()

    @property
    def is_running(self) -> bool:
        """True while the process has tasks."""
        return self.process.is_running

    def start(self) -> None:
        """Start a new process."""
        self.process = Process(self.name, clock_offset=self._clock_offset)
        self.state, self.uvicorn_connections, self._lifespan = {}, set(), Inbox()
        self._is_checking = False
        self.bridge = self.process.context.copy().run(self._create_bridge, self)
        self._lifespan.put({"type": "lifespan.startup"})
        self.spawn(self._run())

    def kill(self) -> None:
        """End the process at once; its peers see closed connections."""
        self.is_up = False
        for connection in (*self.exchanges, *self.sockets):
            connection.reset()
        # The operating system forgets a process; here its tasks have to end.
        self.loop.thaw(self.process)
        self.process.cancel_tasks()

    async def stop(self) -> None:
        """Drain, then stop the process, as a rolling restart does."""
        await self.bridge.drain()
        self.is_up = False
        for socket in list(self.sockets):
            socket.shut_down()
        self._lifespan.put({"type": "lifespan.shutdown"})

    def check_readiness(self) -> None:
        """Request `health/ready`; the last request counts as failed if it has no answer yet."""
        if self._is_checking or not self.is_up:
            self.is_ready = False
        if self.is_up and not self._is_checking:
            self._is_checking = True
            self.spawn(self._check_readiness())

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Start a task of this process."""
        return self.loop.spawn(self.process, work)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Call a function in this process."""
        self.loop.call_soon(callback, *args, context=self.process.context)

    def open_socket(self, link: Link, client: int) -> ASGISocket | FastSocket:
        """Return a WebSocket connection that has reached this server."""
        return (FastSocket if self._is_fast else ASGISocket)(self, link, client)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "state": self.state}
        with suppress(asyncio.CancelledError):
            await self.bridge(scope, self._lifespan.get, self._on_lifespan)

    async def _on_lifespan(self, message: Message) -> None:
        self.is_up = message["type"] == "lifespan.startup.complete"

    async def _check_readiness(self) -> None:
        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.is_ready = message["status"] == OK

        path = f"{self.bridge.path}/health/ready"
        scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        await self.bridge(scope, Inbox[Message]().get, send)
        self._is_checking = False
