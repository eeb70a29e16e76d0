"""Plain event stream that is cut at each of its bytes, and resumed with its last id."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.server import Bridge
from realtime_bridge.server.http.request import Message
from realtime_bridge.server.timing import ServerTiming
from tests.server.event_source import EventSourceParser, Fired
from tests.server.harness import TIMEOUT, context_of, make_bridge
from tests.services.redis import RedisServer

CHANNELS = ("job.7", "a=b,c;d@e")
EVENTS = 200


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def bridge(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bridge]:
    """Start a bridge on each kind of log."""
    with ExitStack() as exits:
        if request.param == "sqlite":
            monkeypatch.setenv("REALTIME_SQLITE_PATH", str(tmp_path / "log.db"))
        if request.param == "redis":
            server = exits.enter_context(RedisServer(tmp_path / "redis", "--save", ""))
            monkeypatch.setenv("REALTIME_REDIS_URL", server.url)
        async with make_bridge(log=request.param) as bridge:
            yield bridge


class Tape:
    """Reader that records each byte, and disconnects when it has enough events."""

    def __init__(self, enough: int) -> None:
        self.data = bytearray()
        self.fired: list[Fired] = []
        self._parser = EventSourceParser()
        self._enough = enough
        self._left = asyncio.Event()
        self.opened = asyncio.Event()

    async def send(self, message: Message) -> None:
        self.data += message.get("body", b"")
        self.fired += self._parser.feed(message.get("body", b""))
        if len(self._parser.last_id.split()) == len(CHANNELS):
            self.opened.set()
        if len(self.fired) >= self._enough:
            self._left.set()

    async def receive(self) -> Message:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def read(self, bridge: Bridge, last_id: str) -> None:
        token = context_of(bridge).tokens.issue("42", channels=["*"])
        headers = [(b"authorization", f"Bearer {token}".encode())]
        if last_id:
            headers.append((b"last-event-id", last_id.encode()))
        query = urlencode([("channel", channel) for channel in CHANNELS])
        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": f"{bridge.path}/sse",
            "query_string": query.encode(),
            "headers": headers,
        }
        async with asyncio.timeout(TIMEOUT):
            await bridge(scope, self.receive, self.send)


def by_channel(fired: list[Fired]) -> dict[str, list[int]]:
    return {
        channel: [event.value for event in fired if event.name == channel] for channel in CHANNELS
    }


async def publish(bridge: Bridge, count: int) -> None:
    for number in range(count):
        channel = CHANNELS[number % 3 % 2]
        await bridge.publish(channel, channel, number)


async def test_reader_cut_at_any_byte_has_each_event_once(bridge: Bridge) -> None:
    whole = Tape(enough=EVENTS)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(whole.read(bridge, ""))
        await whole.opened.wait()
        await publish(bridge, EVENTS)
    expected = by_channel(whole.fired)
    assert sum(map(len, expected.values())) == EVENTS
    parser, received = EventSourceParser(), 0
    resumed: dict[str, int] = {}
    for byte in whole.data:
        received += len(parser.feed(bytes([byte])))
        # A cut before the channels are open leaves no id: nothing was promised yet.
        if len(parser.last_id.split()) == len(CHANNELS):
            assert resumed.setdefault(parser.last_id, received) == received
    assert len(resumed) == EVENTS + 1
    for last_id, count in resumed.items():
        rest = Tape(enough=EVENTS - count)
        if count < EVENTS:
            await rest.read(bridge, last_id)
        assert by_channel(whole.fired[:count] + rest.fired) == expected


async def test_reader_that_takes_nothing_is_ended_and_leaves_no_task() -> None:
    class StalledTape(Tape):
        async def send(self, message: Message) -> None:
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

    timing = ServerTiming(session=SessionTiming(stalled=0.02), close=0.02)
    async with make_bridge(timing=timing) as bridge:
        await StalledTape(enough=1).read(bridge, "")
        context = context_of(bridge)
        assert len(context.registry) == 0
        assert not context.registry.users
        assert context.connections.statistics.closed[4508] == 1
