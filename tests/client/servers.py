"""Server in the test's own event loop, and a client whose connections can be awaited."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from realtime_bridge import Event
from realtime_bridge.client import ChannelDenied, ChannelReset, HybridClient
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.client.commands import Options
from realtime_bridge.protocol.client.status import Status
from realtime_bridge.protocol.client.timing import Timing
from realtime_bridge.server import Bridge
from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge.server.http.request import Receive, Scope, Send

SECRET = "a secret for tests of more than 32 bytes"
TIMEOUT = 30.0

QUICK = Options(polling_interval=250, fallback_delay=250, reconnect_interval=250)
TIMING = Timing(
    denial_patience=100,
    slow_connect=200,
    subscribe_retry=20,
    backoff_min=1,
    backoff_max=20,
    ban_min=20,
    ban_max=20,
    slow_reconnect=20,
    restart_spread=20,
    first_poll_spread=10,
    next_page_delay=5,
)
"""Short waits; time limits are the usual ones, for a machine under load."""

Item = Event | ChannelReset | ChannelDenied
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Server(uvicorn.Server):
    """Server of a bridge that counts requests; other applications can take its place."""

    def __init__(self, bridge: Bridge) -> None:
        config = uvicorn.Config(
            self.application,
            interface="asgi3",
            lifespan="on",
            log_level="warning",
            ws="websockets-sansio",
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)
        self.bridge = bridge
        self.requests = Counter[str]()
        self.requested = asyncio.Event()
        """Set at each request."""
        self.websockets: Application = bridge
        self.http: Application = bridge
        self.listening = asyncio.Event()
        self._stopped = asyncio.Event()

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests[scope.get("path", scope["type"])] += 1
        self.requested.set()
        applications = {"websocket": self.websockets, "http": self.http}
        await applications.get(scope["type"], self.bridge)(scope, receive, send)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self._stopped.set()

    async def stop(self) -> None:
        """Close all connections, and end."""
        self.should_exit = True
        await self._stopped.wait()

    @property
    def port(self) -> int:
        return int(self.servers[0].sockets[0].getsockname()[1])


@asynccontextmanager
async def serving(bridge: Bridge | None = None, *, port: int = 0) -> AsyncGenerator[Server]:
    """Serve the bridge, or one of the environment, until the context ends."""
    server = Server(bridge or Bridge.from_env())
    running = asyncio.create_task(server.serve(sockets=[bound(port)]))
    try:
        await asyncio.wait(
            {asyncio.create_task(server.listening.wait()), running},
            return_when=asyncio.FIRST_COMPLETED,
        )
        yield server
    finally:
        server.should_exit = True
        await running


def bound(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    return listening


def token(user: str = "ada", **options: Any) -> str:
    return Tokens(SECRET, issuer="realtime").issue(user, **options)


async def refuse_websocket(_: Scope, receive: Receive, send: Send) -> None:
    """Refuse a WebSocket, as a proxy without support for them does."""
    await receive()
    await send({"type": "websocket.close", "code": 1008, "reason": ""})


def answers(status: int, body: bytes = b"<html>blocked</html>", **headers: str) -> Application:
    """Return an application that answers each request alike, as a proxy on the way does."""
    encoded = [(name.encode(), text.encode()) for name, text in headers.items()]

    async def answer(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": body})

    return answer


class Client(HybridClient):
    """Client with short waits, whose live connections can be awaited."""

    def __init__(self, *arguments: Any, timing: Timing = TIMING, **options: Any) -> None:
        super().__init__(*arguments, options=QUICK, timing=timing, on_status=self._note, **options)
        self.lives: asyncio.Queue[None] = asyncio.Queue()
        self.kinds: set[str] = set()
        """Kinds of status since the start."""
        self._items: AsyncIterator[Item] | None = None

    def _note(self, status: Status) -> None:
        self.kinds.add(status.kind)
        if status.kind == "realtime":
            self.lives.put_nowait(None)

    async def live(self) -> None:
        """Wait until the client is live once more."""
        async with asyncio.timeout(TIMEOUT):
            await self.lives.get()

    async def started(self) -> Position:
        """Wait until one channel is subscribed, and return its position."""
        async with asyncio.timeout(TIMEOUT):
            return (await self.wait_subscribed())[1]

    async def next(self) -> Item:
        """Return the next item."""
        self._items = self._items or aiter(self)
        async with asyncio.timeout(TIMEOUT):
            return await anext(self._items)

    async def take(self, count: int) -> list[Item]:
        return [await self.next() for _ in range(count)]

    async def steps(self, count: int) -> list[int]:
        """Return the numbers in the next events, which must not be resets."""
        return [step(item) for item in await self.take(count)]


def step(item: Item) -> int:
    assert isinstance(item, Event), f"a gap: {item}"
    return int(item.data["step"])
