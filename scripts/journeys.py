"""Count of the files, calls and changes of file on four journeys through the library.

Only frames of `realtime_bridge/` and `backends/` count. A resumed coroutine is a call. A change of
file is a call into another file than the call before.
"""

import argparse
import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from realtime_bridge.client import HybridClient
from realtime_bridge.server import Bridge
from realtime_bridge.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (f"{ROOT}/realtime_bridge/", f"{ROOT}/backends/")
EVENT = ("user-ada", "job.step", {"percent": 50})
SETTLE_SECONDS, TIMEOUT_SECONDS = 0.1, 10


class Trace:
    """Profile function that records calls into the library."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Record a call of a frame of the library."""
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(PACKAGES):
            self.calls.append((file.removeprefix(f"{ROOT}/"), frame.f_code.co_qualname))

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of files, calls and changes of file."""
        files = [file for file, _ in self.calls]
        changes = sum(before != after for before, after in pairwise(files))
        return {"files": len(set(files)), "calls": len(files), "changes": changes}


class Site:
    """Server in a thread of its own, because a profile belongs to one thread."""

    def __init__(self, websocket: str) -> None:
        settings = Settings(secret="s" * 32, backend="websocket", log="memory")
        self.bridge = Bridge(settings, authenticate=lambda _: "ada")
        options: dict[str, Any] = {"lifespan": "on", "log_level": "error", "ws": websocket}
        self.server = uvicorn.Server(uvicorn.Config(self.bridge, port=0, **options))
        self.trace = Trace()

    async def serve(self) -> None:
        """Run the server until it exits."""
        self.loop = asyncio.get_running_loop()
        await self.server.serve()

    async def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await a coroutine in the server's thread."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    @asynccontextmanager
    async def traced(self) -> AsyncIterator[None]:
        """Trace the server's thread until the effects of the body are over."""
        self.loop.call_soon_threadsafe(sys.setprofile, self.trace)
        yield
        await asyncio.sleep(SETTLE_SECONDS)
        self.loop.call_soon_threadsafe(sys.setprofile, None)

    async def post(self, route: str, body: object, *headers: tuple[bytes, bytes]) -> Any:
        """Send a request to the ASGI application in memory, and return the response."""
        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": f"/realtime/{route}"}
        fields = [(b"content-type", b"application/json"), *headers]
        sent: asyncio.Queue[Any] = asyncio.Queue()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": json.dumps(body).encode()}

        scope |= {"query_string": b"", "headers": fields}
        await self.run(self.bridge(scope, receive, sent.put))
        return json.loads([sent.get_nowait(), sent.get_nowait()][1]["body"])

    async def token(self) -> str:
        """Return a token of the server."""
        return str((await self.post("connect", {}))["token"])

    async def publish(self) -> dict[str, Any]:
        """Publish one event, and return its position in the form of the wire."""
        position = (await self.run(self.bridge.publish(*EVENT))).position
        return {name: getattr(position, name) for name in ("epoch", "offset", "id")}

    async def subscribe(self, token: str, position: object = None) -> ClientConnection:
        """Open a WebSocket with a subscription from a position."""
        url = "ws://{}:{}/realtime/ws".format(*self.server.servers[0].sockets[0].getsockname())
        socket = await connect(url, compression=None)
        for frame in (
            {"type": "connect", "token": token, "nonce": "n"},
            {"type": "subscribe", "channel": EVENT[0], "position": position},
        ):
            await socket.send(json.dumps(frame))
            await socket.recv()
        return socket

    async def drop_and_publish(self) -> None:
        """Abort all connections and publish, before a client can return."""
        for connection in list(self.server.server_state.connections):
            connection.transport.abort()
        await self.bridge.publish(*EVENT)


async def publish(site: Site) -> None:
    """Trace a publish to one subscriber."""
    async with await site.subscribe(await site.token()) as socket:
        await site.publish()
        await socket.recv()
        await asyncio.sleep(SETTLE_SECONDS)  # the log tidies up at most once per millisecond
        async with site.traced():
            await site.publish()
            await socket.recv()


async def poll(site: Site) -> None:
    """Trace a poll with one missed event."""
    token, position, _ = await site.token(), await site.publish(), await site.publish()
    body = {"positions": {EVENT[0]: position}}
    async with site.traced():
        await site.post("poll", body, (b"authorization", f"Bearer {token}".encode()))


async def reconnect(site: Site) -> None:
    """Trace the server's part of a reconnect with one missed event."""
    token, position, _ = await site.token(), await site.publish(), await site.publish()
    async with await site.subscribe(token), site.traced():  # one subscriber keeps the channel open
        socket = await site.subscribe(token, position)
    await socket.close()


async def client_drop(site: Site) -> None:
    """Trace the client's part of a dropped connection with one missed event."""
    live, token = asyncio.Event(), await site.token()

    def on_status(status: Any) -> None:
        live.set() if status.kind == "realtime" else live.clear()

    url = "http://{}:{}/realtime".format(*site.server.servers[0].sockets[0].getsockname())
    async with HybridClient(url, [EVENT[0]], token=token, on_status=on_status) as client:
        await live.wait()
        handler = asyncio.ensure_future(anext(aiter(client)))
        await asyncio.sleep(SETTLE_SECONDS)
        live.clear()
        sys.setprofile(site.trace)
        await site.run(site.drop_and_publish())
        await asyncio.gather(handler, live.wait())
        await asyncio.sleep(SETTLE_SECONDS)
        sys.setprofile(None)


async def measure(journey: Callable[[Site], Coroutine[Any, Any, None]], websocket: str) -> Trace:
    """Return the trace of one run of a journey."""
    site = Site("websockets-sansio" if journey is client_drop else websocket)
    thread = threading.Thread(target=asyncio.run, args=[site.serve()])
    thread.start()
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not site.server.started:  # noqa: ASYNC110 -- uvicorn sets nothing but a flag
                await asyncio.sleep(0.01)
            await journey(site)
    finally:
        site.server.should_exit = True
        thread.join()
    return site.trace


def main() -> None:
    """Measure all journeys, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--runs", type=int, default=3, help="the first of several only warms up")
    parser.add_argument("--calls", action="store_true", help="print every call before the table")
    parser.add_argument("--websocket", default="realtime_bridge.server.connections.fast:WebSocket")
    options = parser.parse_args()
    traces = {}
    # One value for every draw makes the waits equal: 0.1 s to the poll, 0.3 s to the connection.
    with patch("random.random", return_value=0.1):
        for journey in (publish, poll, reconnect, client_drop):
            runs = [asyncio.run(measure(journey, options.websocket)) for _ in range(options.runs)]
            # A busy machine can divide one read into two, and so only ever adds calls.
            traces[journey.__name__] = min(runs[1:] or runs, key=lambda trace: len(trace.calls))
    if options.json:
        print(json.dumps({name: trace.counts for name, trace in traces.items()}, indent=2))
        return
    for name, trace in traces.items() if options.calls else ():
        print(*(f"{name} {file}: {function}" for file, function in trace.calls), sep="\n")
    print(f"{'journey':12} {'files':>6} {'calls':>6} {'changes of file':>16}")
    for name, trace in traces.items():
        print("{:12} {files:6} {calls:6} {changes:16}".format(name, **trace.counts))


if __name__ == "__main__":
    main()
