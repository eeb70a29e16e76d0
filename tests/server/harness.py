"""Real server in the test's event loop, and clients on loopback."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol, Self

import orjson
import uvicorn
from aiohttp import ClientSession
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from realtime_bridge.backend.log import Log
from realtime_bridge.model.channel import is_internal
from realtime_bridge.protocol.wire import messages
from realtime_bridge.protocol.wire.rpc import sign_nonce, signed_headers
from realtime_bridge.publishing.pipeline import PublishPipeline
from realtime_bridge.server import Bridge
from realtime_bridge.server.auth.authenticator import Authenticate
from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge.server.connections.connection import Connection
from realtime_bridge.server.context import STATE, ServerContext
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge.settings import DEVELOPMENT_SECRET, Settings
from tests.server.reference import Recorder, check_frame

SECRET = "a secret of the tests: 32 bytes long at least"
TIMEOUT = 10.0
"""The longest to wait for what must come; nothing that works comes near it."""

PORTABLE, FAST = "websockets-sansio", "realtime_bridge.server.connections.fast:WebSocket"
"""Values of uvicorn's `ws`: its own class, which reaches the bridge by ASGI, or ours."""

BOUNDED = "realtime_bridge.server.connections.fast.http:HTTP"
"""Value of uvicorn's `http` that `serve` uses, with the fast shell."""

Frame = dict[str, Any]
Application = Callable[..., Awaitable[None]]


def make_settings(**options: Any) -> Settings:
    return Settings(**{"secret": SECRET, **options})


def make_bridge(
    *,
    dev: bool = False,
    authenticate: Authenticate | None = None,
    timing: ServerTiming = ServerTiming(),  # noqa: B008 -- it is frozen
    with_log: Log | None = None,
    **options: Any,
) -> Bridge:
    """Make a bridge, with this log in place of the configured one."""
    pipeline = PublishPipeline(log=with_log, backend=None) if with_log else None
    settings = make_settings(**({"secret": DEVELOPMENT_SECRET} if dev else {}) | options)
    return Bridge(settings, dev=dev, authenticate=authenticate, timing=timing, pipeline=pipeline)


def context_of(bridge: Bridge) -> ServerContext:
    context: ServerContext = bridge.state[STATE]
    return context


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds that no message reports."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 -- no event reports it
            await asyncio.sleep(0.002)


class _Server(uvicorn.Server):
    """Waits for an event, where uvicorn looks at a flag ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await until(lambda: not self.server_state.connections and not self.server_state.tasks)
        await self.lifespan.shutdown()


@asynccontextmanager
async def running(
    app: Application,
    *,
    lifespan: str = "on",
    send_buffer: int | None = None,
    shell: str = PORTABLE,
    http: type[asyncio.Protocol] | str | None = None,
    certificate: Path | None = None,
) -> AsyncIterator[str]:
    """Serve `app` on a free loopback port, and yield its origin."""
    listening = socket.socket()
    if send_buffer:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        lifespan=lifespan,  # type: ignore[arg-type]  # a literal of "on", "off" or "auto"
        http=http or (BOUNDED if shell == FAST else "auto"),
        ws=shell,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=shell != FAST,  # `serve` has none: some answers go past uvicorn
        timeout_graceful_shutdown=5,
        ssl_certfile=certificate,
    )
    server = _Server(config)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve([listening]))
        ready = tasks.create_task(server.ready.wait())
        await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        try:
            yield f"http{'s' if certificate else ''}://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.stopping.set()


class Client:
    """A browser, as far as frames go."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(messages.encode(kind, **fields).decode())

    def send_at_once(self, *sent: bytes) -> None:
        """Send these frames in one piece, so that the server finds them together."""
        pieces = [WireFrame(Opcode.TEXT, frame).serialize(mask=True) for frame in sent]
        self.socket.transport.write(b"".join(pieces))

    async def receive(self) -> Frame:
        async with asyncio.timeout(TIMEOUT):
            frame: Frame = orjson.loads(await self.socket.recv())
        check_frame("sendToClient", frame)
        return frame

    async def expect(self, kind: str) -> Frame:
        frame = await self.receive()
        assert frame["type"] == kind, frame
        return frame

    async def skip_to(self, kind: str) -> Frame:
        while (frame := await self.receive())["type"] != kind:
            pass
        return frame

    async def introduce(self, token: str) -> Frame:
        await self.send("connect", token=token, nonce="n", version=1)
        return await self.expect("welcome")

    async def subscribe(self, channel: str, position: Mapping[str, Any] | None = None) -> Frame:
        await self.send("subscribe", channel=channel, position=position)
        return await self.expect("subscribed")

    async def events(self, count: int) -> list[Frame]:
        return [await self.expect("event") for _ in range(count)]

    async def ping(self) -> None:
        """Wait until the server has answered everything before."""
        await self.send("ping", nonce="p")
        await self.skip_to("pong")

    async def closed(self) -> tuple[int, str]:
        """Read to the end, and return the code and reason of the close."""
        async with asyncio.timeout(TIMEOUT):
            try:
                while True:
                    await self.socket.recv()
            except ConnectionClosed as error:
                return (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")

    async def failed(self) -> tuple[int, Frame]:
        """Return the close code, and the error before it."""
        error = await self.skip_to("error")
        code, reason = await self.closed()
        assert reason == error["message"][:120]
        return code, error


class Watcher(Client):
    """Another client of the same server, who must notice nothing of all that."""

    def __init__(self, socket: ClientConnection, site: "Site", channel: str) -> None:
        super().__init__(socket)
        self._site = site
        self._channel = channel
        self._seen = 0

    async def notices_nothing(self) -> None:
        """Prove that it goes on receiving: the next event is the very next."""
        await self._site.bridge.publish(self._channel, "watch.step")
        frame = await self.skip_to("event")
        self._seen += 1
        assert frame["offset"] == self._seen


@dataclass
class Site:
    """A running server, and what a test needs to talk to it."""

    bridge: Bridge
    origin: str
    http: ClientSession
    exits: AsyncExitStack
    path: str = "/realtime"
    recorder: Recorder | None = None

    @property
    def tokens(self) -> Tokens:
        return self.context.tokens

    @property
    def context(self) -> ServerContext:
        return context_of(self.bridge)

    @property
    def url(self) -> str:
        return self.origin + self.path

    def token(self, user: str = "42", *channels: str, seconds: float = 600) -> str:
        return self.tokens.issue(user, channels=channels or ("*",), seconds=seconds)

    async def open(self, query: str = "", **options: Any) -> Client:
        """Open a socket, and send nothing on it."""
        return Client(await self.open_route("ws" + query, options))

    async def connect(self, user: str = "42", *channels: str, **options: Any) -> Client:
        """Open a socket as `user`, who may listen to these channels, by default to all."""
        client = await self.open(**options)
        await client.introduce(self.token(user, *channels))
        return client

    async def connect_slowly(self, user: str = "slow", *channels: str) -> Client:
        """Connect as `user`, who reads nothing but what it asks for, and has little room."""
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        narrow.setblocking(False)
        port = int(self.origin.rpartition(":")[2])
        await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", port))
        return await self.connect(user, *channels, sock=narrow, max_queue=1)

    def connection_of(self, user: str) -> Connection:
        """Return the server's side of a user's only subscribed connection."""
        (connection,) = (
            client
            for client in self.context.registry
            if isinstance(client, Connection) and client.user == user and client.subscriptions
        )
        return connection

    async def watch(self, channel: str = "watched") -> Watcher:
        watcher = Watcher(await self.open_route("ws", {}), self, channel)
        await watcher.introduce(self.token("watcher"))
        await watcher.subscribe(channel)
        return watcher

    async def worker(self) -> ClientConnection:
        """Open a worker's signed socket, and prove that the worker has the secret."""
        headers = signed_headers(SECRET, f"{time.time():.6f}", b"")
        socket = await self.open_route("publish", {"additional_headers": headers})
        nonce = orjson.loads(await socket.recv())["nonce"]
        await socket.send(orjson.dumps({"proof": sign_nonce(SECRET, nonce)}).decode())
        return socket

    async def post(self, route: str, body: object, **headers: str) -> tuple[int, Frame]:
        """Send JSON, and return the status and the answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        sent = {"content-type": "application/json", **named}
        stream = BytesIO(data)  # a megabyte of bytes makes aiohttp warn
        async with self.http.post(f"{self.url}/{route}", data=stream, headers=sent) as answer:
            return answer.status, orjson.loads(await answer.read())

    async def poll(
        self, positions: object, *, user: str = "42", channels: Sequence[str] = (), **more: Any
    ) -> tuple[int, Frame]:
        bearer = f"Bearer {self.token(user, *channels)}"
        return await self.post("poll", {"positions": positions, **more}, authorization=bearer)

    async def publish(self, body: object, **options: Any) -> tuple[int, Frame]:
        """Publish as another process does, signed."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        timestamp = options.get("timestamp", f"{time.time():.6f}")
        headers = signed_headers(options.get("secret", SECRET), timestamp, data)
        return await self.post("publish", data, **headers)

    async def fill(self, channel: str, data: Iterable[Any]) -> None:
        for one in data:
            await self.bridge.publish(channel, "job.step", one)

    async def open_route(self, route: str, options: dict[str, Any]) -> ClientConnection:
        url = f"{self.url.replace('http', 'ws', 1)}/{route}"
        opening = connect(url, compression=None, max_size=None, proxy=None, **options)
        socket = await self.exits.enter_async_context(opening)
        self.exits.callback(socket.transport.abort)
        return socket

    async def left_nothing(self) -> None:
        """Prove that no connection, subscription or task outlives its client."""
        hub = self.context.hub
        await until(lambda: not self.context.registry.users)
        fans = [fan for channel, fan in hub.fanouts.items() if not is_internal(channel)]
        await until(lambda: not any(fan.in_use for fan in fans))
        assert not hub.opener


class Serve(Protocol):
    """Starts servers, and stops them at the end of the test."""

    async def __call__(
        self,
        bridge: Bridge | None = None,
        *,
        app: Application | None = None,
        send_buffer: int | None = None,
        **options: Any,
    ) -> Site: ...


class Sites:
    """The servers of one test."""

    def __init__(self, shell: str) -> None:
        self._shell = shell
        self._exits = AsyncExitStack()
        self._clients = AsyncExitStack()
        self._sites: list[Site] = []
        self._recorders: list[Recorder] = []

    async def start(
        self,
        bridge: Bridge | None = None,
        *,
        app: Application | None = None,
        send_buffer: int | None = None,
        **options: Any,
    ) -> Site:
        bridge = bridge or make_bridge(**options)
        recorder = Recorder(bridge, bridge.path)
        self._recorders.append(recorder)
        serving = running(app or recorder, send_buffer=send_buffer, shell=self._shell)
        origin = await self._exits.enter_async_context(serving)
        http = await self._clients.enter_async_context(ClientSession())
        site = Site(bridge, origin, http, self._clients, bridge.path, recorder)
        self._sites.append(site)
        return site

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        async with self._exits:
            await self._clients.aclose()
            for site in self._sites:
                await site.left_nothing()
            differences = [text for one in self._recorders for text in one.differences]
            assert not differences, "\n".join(differences)


def position_of(frame: Frame) -> Frame:
    return {name: frame[name] for name in ("epoch", "offset", "id") if name in frame}


async def collect(client: Client, channel: str, frame: Frame, top: int) -> list[int]:
    """Read on from a `subscribed`, page by page and then live, up to the offset `top`."""
    offsets = [event["offset"] for event in frame["events"]]
    while not offsets or offsets[-1] < top:
        if frame["type"] == "subscribed" and frame["more"]:
            await client.send("subscribe", channel=channel, position=position_of(frame))
        frame = await client.receive()
        if frame["type"] == "subscribed":
            offsets += [event["offset"] for event in frame["events"]]
        elif frame["type"] == "event":
            offsets.append(frame["offset"])
    return offsets
