"""Who reads too slowly delays nobody, fills no memory, and misses nothing."""

import asyncio

import pytest

from realtime_bridge.protocol.session import session
from realtime_bridge.protocol.wire.messages import encode
from realtime_bridge.server.connections import connection
from realtime_bridge.server.connections.connection import Connection
from realtime_bridge.server.fanout import sending
from tests.server.fakes import Gate
from tests.server.harness import (
    FAST,
    PORTABLE,
    Client,
    Frame,
    Serve,
    Site,
    collect,
    position_of,
    until,
)

CHANNEL = "job.7"
WITHOUT_C = "fast without C"


@pytest.fixture(params=[PORTABLE, FAST, WITHOUT_C], ids=["asgi", "fast", "fast-without-c"])
def shell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Send from Python too, as where nothing could be compiled."""
    if request.param != WITHOUT_C:
        return str(request.param)
    monkeypatch.setattr(sending, "send_all", sending.in_python)
    return FAST


class TestSlowReaders:
    limit = 64 * 1024

    @pytest.fixture
    async def site(self, serve: Serve) -> Site:
        return await serve(
            limit_unsent_bytes=self.limit,
            history_events=10_000,
            history_bytes=64 * 1024 * 1024,
            send_buffer=8 * 1024,
        )

    async def demote(self, site: Site, quick: Client, slow: Connection) -> int:
        """Publish until the slow reader is demoted; return how many events that took."""
        count, most = 0, 0
        while slow._session.live(CHANNEL):
            count += 1
            await site.fill(CHANNEL, ["x" * 1_000])
            assert (await quick.skip_to("event"))["offset"] == count
            most = max(most, slow.unsent)
        assert most < self.limit + 10_000
        return count

    async def read_until_told(self, reader: Client) -> tuple[list[int], Frame]:
        """Read until a heartbeat tells that there is more; return what came, and the last event."""
        offsets, told = [0], 0
        last: Frame = {}
        while told <= offsets[-1]:
            frame = await reader.receive()
            if frame["type"] == "event":
                offsets.append(frame["offset"])
                last = frame
            else:
                told = frame["offsets"].get(CHANNEL, told)
        return offsets[1:], last

    async def test_one_is_demoted_delays_nobody_and_gets_everything_exactly_once(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        quick = await site.connect("quick")
        await quick.subscribe(CHANNEL)
        monkeypatch.setattr(session, "HEARTBEAT_SECONDS", 0.02)
        reader = await site.connect_slowly()
        await reader.subscribe(CHANNEL)
        slow = site.connection_of("slow")
        count = await self.demote(site, quick, slow)
        waiting = slow.unsent
        for _ in range(700):
            await site.fill(CHANNEL, ["x" * 1_000])
            count += 1
            assert (await quick.skip_to("event"))["offset"] == count
        assert slow.unsent - waiting < 5_000  # nothing but heartbeats

        offsets, last = await self.read_until_told(reader)
        await reader.send("subscribe", channel=CHANNEL, position=position_of(last))
        page = await reader.skip_to("subscribed")
        await site.fill(CHANNEL, ["live"])
        offsets += await collect(reader, CHANNEL, page, count + 1)
        assert offsets == [*range(1, count + 2)]

    async def test_one_that_reads_nothing_at_all_is_closed(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session, "STALLED_SECONDS", 0.02)
        quick = await site.connect("quick")
        await quick.subscribe(CHANNEL)
        reader = await site.connect_slowly()
        await reader.subscribe(CHANNEL)
        slow = site.connection_of("slow")
        monkeypatch.setattr(connection, "CLOSE_SECONDS", 10.0)
        count = await self.demote(site, quick, slow)
        await until(lambda: slow._closing)
        code, error = await reader.failed()
        assert (code, error["message"].startswith("nothing read for")) == (4508, True)
        await site.fill(CHANNEL, [1])
        assert (await quick.expect("event"))["offset"] == count + 1

    async def test_one_that_never_reads_again_is_given_up(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session, "STALLED_SECONDS", 0.02)
        monkeypatch.setattr(connection, "CLOSE_SECONDS", 0.02)
        before = asyncio.all_tasks()
        quick = await site.connect("quick")
        await quick.subscribe(CHANNEL)
        tasks = asyncio.all_tasks()
        reader = await site.connect_slowly()
        await reader.subscribe(CHANNEL)
        await self.demote(site, quick, site.connection_of("slow"))
        await until(lambda: site.engine.connections == {"quick": 1})
        await until(lambda: len(asyncio.all_tasks()) <= len(tasks) + 1)
        assert before < tasks

    async def test_twice_in_a_minute_is_once_too_often(self, site: Site) -> None:
        quick = await site.connect("quick")
        await quick.subscribe(CHANNEL)
        reader = await site.connect_slowly()
        await reader.subscribe(CHANNEL)
        slow = site.connection_of("slow")
        count = await self.demote(site, quick, slow)
        while slow.unsent:
            await reader.receive()
        await reader.send("subscribe", channel=CHANNEL)
        await reader.skip_to("subscribed")
        while not slow._closing:
            await site.fill(CHANNEL, ["x" * 1_000])
            count += 1
            assert (await quick.skip_to("event"))["offset"] == count
        code, error = await reader.failed()
        assert (code, error["message"]) == (4508, "too slow, twice in a minute")

    async def test_one_that_asks_for_pages_and_reads_none_fills_no_memory(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate = Gate()
        monkeypatch.setattr(site.engine.rules, "allow", gate.allow)
        channels = [f"job.{number}" for number in range(20)]
        for channel in channels:
            await site.fill(channel, ["x" * 1_000] * 300)
        reader, watcher = await site.connect_slowly(), await site.watch()
        await reader.subscribe("job.0")
        slow = site.connection_of("slow")
        gate.close_after(0)
        for channel in channels:
            await reader.send(
                "subscribe", channel=channel, position=await self.start(site, channel)
            )
        await until(lambda: len(slow._joins) == len(channels))
        gate.open()
        await until(lambda: not slow.room)
        for _ in range(50):
            await watcher.notices_nothing()
        assert slow.unsent < 512 * 1024
        got = [await reader.skip_to("subscribed") for _ in channels]
        assert {len(page["events"]) for page in got} == {300}

    async def start(self, site: Site, channel: str) -> Frame:
        top = (await site.engine.log.positions([channel]))[channel]
        return {"epoch": top.epoch, "offset": 0}

    async def test_one_that_asks_again_and_again_and_reads_nothing_fills_no_memory(
        self, serve: Serve
    ) -> None:
        site = await serve(
            limit_unsent_bytes=self.limit, limit_frames_per_second=1e9, send_buffer=8 * 1024
        )
        reader, watcher = await site.connect_slowly(), await site.watch()
        await reader.subscribe(CHANNEL)
        slow = site.connection_of("slow")
        ping = encode("ping", nonce="n" * 64)
        for _ in range(50):
            reader.send_at_once(*[ping] * 100)
            await watcher.notices_nothing()
        assert self.limit < slow.unsent < self.limit + 1_000
        for _ in range(5_000):
            await reader.expect("pong")
