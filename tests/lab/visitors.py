"""Process with visitors of all doors of the nodes: they write down what they get.

Plain event streams are clients as the others, which resume after a cut. The target of the outlet
writes each event; the other visitors write that their door was open.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout, WSMsgType, web
from msgspec import Struct
from standardwebhooks import Webhook

from realtime_bridge.model.position import Position
from realtime_bridge.protocol.pusher.signatures import PusherApp, channel_text
from realtime_bridge.protocol.wire.last_event_id import parse_last_event_id
from realtime_bridge.protocol.wire.plain_events import RESET
from realtime_bridge.server.auth.tokens import Tokens
from tests.cli.processes import SECRET
from tests.lab.history import PLAIN
from tests.lab.lines import standard_input, write
from tests.server.event_source import EventSourceParser, Fired

APP = PusherApp("1001", "app-key", "the secret of the lab's app")
OUTLET_SECRET = "whsec_" + "c2VjcmV0IG9mIHRlc3RzLCAzMiBieXRlcyBsb25nISE="
OPERATOR = "operator"
"""User who may see the dashboard."""

VISIT_SECONDS = 5.0
"""Pause between two visits, and after a cut."""

TOKEN_SECONDS = 24 * 3_600
STREAM_CHANNELS = 8
"""Most channels of one plain stream."""


class VisitorTask(Struct, frozen=True):
    """Visitors of one process.

    Args:
        nodes: address of each node, such as `http://127.0.0.1:8000`.
        channels: channels of the schedule.
        port: port of the outlet's target.

    """

    nodes: Sequence[str]
    channels: Sequence[str]
    port: int


class PlainReader:
    """Reader of one plain stream, by the rules of EventSource.

    Args:
        name: name in the records.
        url: address of the stream, without its channels.
        channels: channels of the stream.

    """

    def __init__(self, name: str, url: str, channels: Sequence[str]) -> None:
        self._name, self._channels = name, channels
        query = "&".join(f"channel={channel}" for channel in channels)
        self._url = f"{url}?as=event&{query}"
        token = Tokens(SECRET, issuer="realtime").issue(
            name, channels=channels, seconds=TOKEN_SECONDS
        )
        self._headers = {"authorization": f"Bearer {token}"}
        self._started: set[str] = set()
        self._resets: dict[str, str] = {}
        """Reason of each reset after which no event came yet."""
        self._last_id = ""

    async def read(self, http: ClientSession) -> None:
        """Read one stream to its end, from where the one before ended."""
        resume = {"last-event-id": self._last_id} if self._last_id else {}
        parser = EventSourceParser()
        parser.last_id = self._last_id
        async with http.get(self._url, headers=self._headers | resume) as answer:
            answer.raise_for_status()
            write(source=self._name, kind="status", text="open")
            async for data in answer.content.iter_any():
                for fired in parser.feed(data):
                    self._take(fired)
                self._last_id = parser.last_id
                self._start(self._last_id, but="")

    def _take(self, fired: Fired) -> None:
        fields = fired.value
        channel = fields["channel"]
        self._start(fired.last_id, but=channel)
        if fired.name == RESET:
            self._resets[channel] = fields["reason"]
            return
        position = Position.from_json(fields)
        before = Position(position.epoch, position.offset - 1)
        if channel not in self._started:
            self._write("start", channel, before)
        elif channel in self._resets:
            self._write("reset", channel, before, text=self._resets.pop(channel))
        self._write("event", channel, position, id=fields["id"])

    def _start(self, last_id: str, *, but: str) -> None:
        """Write the first position of channels that are open without an event."""
        for channel, point in parse_last_event_id(last_id).items():
            if channel not in self._started and channel != but:
                self._write("start", channel, point.position)

    def _write(self, kind: str, channel: str, position: Position, **fields: str) -> None:
        place = {"epoch": position.epoch, "offset": position.offset}
        write(source=self._name, kind=kind, channel=channel, **place, **fields)
        if kind == "start":
            self._started.add(channel)
            if len(self._started) == len(self._channels):
                write(source=self._name, kind="ready")


async def watch_pusher(http: ClientSession, node: str, channel: str) -> None:
    """Receive by Pusher's protocol until the socket ends."""
    url = f"{node}/app/{APP.key}?protocol=7&client=js&version=8.6.0&flash=false"
    async with http.ws_connect(url) as socket:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                return
            frame: dict[str, Any] = message.json()
            match frame["event"]:
                case "pusher:connection_established":
                    name = f"private-{channel}"
                    socket_id = json.loads(frame["data"])["socket_id"]
                    auth = APP.sign_for_client(channel_text(socket_id, name))
                    data = {"channel": name, "auth": auth}
                    await socket.send_json({"event": "pusher:subscribe", "data": data})
                case "pusher:ping":
                    await socket.send_json({"event": "pusher:pong", "data": {}})
                case "job.step":
                    write(source="pusher", kind="visited")
                case _:
                    pass


async def be_present(http: ClientSession, node: str) -> None:
    """Enter a presence channel by Pusher's protocol, see oneself there, and leave."""
    url = f"{node}/app/{APP.key}?protocol=7&client=js&version=8.6.0&flash=false"
    async with http.ws_connect(url) as socket:
        established = await socket.receive_json()
        socket_id = json.loads(established["data"])["socket_id"]
        channel_data = json.dumps({"user_id": "visitor"})
        auth = APP.sign_for_client(channel_text(socket_id, "presence-lab", channel_data))
        data = {"channel": "presence-lab", "auth": auth, "channel_data": channel_data}
        await socket.send_json({"event": "pusher:subscribe", "data": data})
        frame = await socket.receive_json()
        if "visitor" in str(frame["data"]):
            write(source="presence", kind="visited")


async def fetch(http: ClientSession, name: str, url: str) -> None:
    """Read a page as an operator."""
    async with http.get(url, cookies={"user": OPERATOR}) as answer:
        answer.raise_for_status()
        if await answer.read():
            write(source=name, kind="visited")


async def again(visit: Callable[[], Awaitable[None]], seconds: float = VISIT_SECONDS) -> None:
    """Repeat a visit; what fails is a visit that is not written down."""
    while True:
        with suppress(ClientError, OSError, TimeoutError, TypeError):
            await visit()
        await asyncio.sleep(seconds)


async def receive(request: web.Request) -> web.Response:
    """Accept an event of the outlet."""
    body = await request.read()
    Webhook(OUTLET_SECRET).verify(body, dict(request.headers))
    fields = orjson.loads(body)
    write(source="outlet", kind="delivered", channel=fields["channel"], id=fields["id"])
    return web.Response()


async def serve_target(port: int) -> web.AppRunner:
    """Start the target of the outlet."""
    app = web.Application()
    app.router.add_post("/", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


def plain_readers(nodes: Sequence[str], channels: Sequence[str]) -> Iterator[PlainReader]:
    """Yield one reader for each node, each with channels of its own."""
    for number, node in enumerate(nodes):
        own = channels[number * STREAM_CHANNELS :][:STREAM_CHANNELS]
        yield PlainReader(f"{PLAIN}-{number}", f"{node}/realtime/sse", own)


def visits_of(
    node: str, channel: str, http: ClientSession, short: ClientSession
) -> Iterator[Callable[[], Awaitable[None]]]:
    """Yield the visits of one node, of which the first one stays."""
    mount = f"{node}/realtime"
    yield partial(watch_pusher, http, node, channel)
    yield partial(be_present, short, node)
    yield partial(fetch, short, "metrics", f"{mount}/metrics")
    yield partial(fetch, short, "dashboard", f"{mount}/")
    yield partial(fetch, short, "state", f"{mount}/dashboard/state")


async def main(task: VisitorTask) -> None:
    """Visit until the end of standard input."""
    end = await standard_input()
    runner = await serve_target(task.port)
    streams = ClientTimeout(total=None, sock_read=60)
    async with (
        ClientSession(timeout=streams) as http,
        ClientSession(timeout=ClientTimeout(total=10)) as short,
    ):
        visits = [
            visit for node in task.nodes for visit in visits_of(node, task.channels[0], http, short)
        ]
        visits += [partial(plain.read, http) for plain in plain_readers(task.nodes, task.channels)]
        tasks = [asyncio.create_task(again(visit)) for visit in visits]
        await end.read()
        for one in tasks:
            one.cancel()
        await asyncio.wait(tasks)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(VisitorTask(**orjson.loads(sys.argv[1]))))
