"""Slow readers delay no other client, fill no memory, and miss nothing."""

import asyncio
from typing import Any

import pytest

from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.protocol.wire.messages import encode
from realtime_bridge.server.connections.connection import Connection
from realtime_bridge.server.fanout import flush, sending
from realtime_bridge.server.timing import ServerTiming
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
    monkeypatch.setattr(flush, "fan_out", None)
    return FAST


class TestSlowReaders:
    limit = 64 * 1024

    async def serve_narrow(self, serve: Serve, **timing: Any) -> Site:
        close = timing.pop("close", ServerTiming().close)
        return await serve(
            timing=ServerTiming(session=SessionTiming(**timing), close=close),
            limit_unsent_bytes=self.limit,
            history_events=10_000,
            history_bytes=64 * 1024 * 1024,
            send_buffer=8 * 1024,
        )

    async def mark_slow(self, site: Site, quick: Client, slow: Connection) -> int:
        """Publish until the reader counts as slow; return the number of events."""
        count, most = 0, 0
        (subscription,) = slow.subscriptions
        while not subscription.behind:
            count += 1
            await site.fill(CHANNEL, ["x" * 1_000])
            assert (await quick.skip_to("event"))["offset"] == count
            most = max(most, slow.unsent_bytes)
        assert most < self.limit + 10_000
        return count

    async def read_until_heartbeat(self, reader: Client) -> tuple[list[int], Frame]:
        """Read until a heartbeat reports more; return the offsets, and the last event."""
        offsets, reported = [0], 0
        last: Frame = {}
        while reported <= offsets[-1]:
            frame = await reader.receive()
            if frame["type"] == "event":
                offsets.append(frame["offset"])
                last = frame
            else:
                reported = frame["offsets"].get(CHANNEL, reported)
        return offsets[1:], last

    async def test_slow_reader_delays_no_other_and_gets_each_event_once(self, serve: Serve) -> None:
        site = await self.serve_narrow(serve, heartbeat=0.1)
        quick = await site.connect("quick")
        reader = await site.connect_slowly()
        for client in (quick, reader):
            await client.send("subscribe", channel=CHANNEL)
            await client.skip_to("subscribed")
        slow = site.connection_of("slow")
        count = await self.mark_slow(site, quick, slow)
        waiting = slow.unsent_bytes
        for _ in range(700):
            await site.fill(CHANNEL, ["x" * 1_000])
            count += 1
            assert (await quick.skip_to("event"))["offset"] == count
        assert slow.unsent_bytes - waiting < 5_000  # nothing but heartbeats

        offsets, last = await self.read_until_heartbeat(reader)
        await reader.send("subscribe", channel=CHANNEL, position=position_of(last))
        page = await reader.skip_to("subscribed")
        await site.fill(CHANNEL, ["live"])
        offsets += await collect(reader, CHANNEL, page, count + 1)
        assert offsets == [*range(1, count + 2)]

    async def test_reader_that_reads_nothing_is_closed(self, serve: Serve) -> None:
        site = await self.serve_narrow(serve, stalled=0.02, close=10.0)
        quick = await site.connect("quick")
        await quick.subscribe(CHANNEL)
        reader = await site.connect_slowly()
        await reader.subscribe(CHANNEL)
        slow = site.connection_of("slow")
        count = await self.mark_slow(site, quick, slow)
        await until(lambda: slow.closing)
        code, error = await reader.failed()
        assert (code, error["message"].startswith("nothing read for")) == (4508, True)
        await site.fill(CHANNEL, [1])
        assert (await quick.expect("event"))["offset"] == count + 1

    async def test_reader_that_never_reads_again_is_aborted(self, serve: Serve) -> None:
        site = await self.serve_narrow(serve, stalled=0.02, close=0.02)
        before = asyncio.all_tasks()
        quick = await site.connect("quick")
        await quick.subscribe(CHANNEL)
        tasks = asyncio.all_tasks()
        reader = await site.connect_slowly()
        await reader.subscribe(CHANNEL)
        await self.mark_slow(site, quick, site.connection_of("slow"))
        await until(lambda: site.context.registry.users == {"quick": 1})
        await until(lambda: len(asyncio.all_tasks()) <= len(tasks) + 1)
        assert before < tasks

    async def test_reader_that_is_slow_twice_in_a_minute_is_closed(self, serve: Serve) -> None:
        site = await self.serve_narrow(serve)
        quick = await site.connect("quick")
        await quick.subscribe(CHANNEL)
        reader = await site.connect_slowly()
        await reader.subscribe(CHANNEL)
        slow = site.connection_of("slow")
        count = await self.mark_slow(site, quick, slow)
        while slow.unsent_bytes:
            await reader.receive()
        await reader.send("subscribe", channel=CHANNEL)
        await reader.skip_to("subscribed")
        while not slow.closing:
            await site.fill(CHANNEL, ["x" * 1_000])
            count += 1
            assert (await quick.skip_to("event"))["offset"] == count
        code, error = await reader.failed()
        assert (code, error["message"]) == (4508, "too slow, twice in a minute")

    async def test_reader_of_unread_pages_fills_no_memory(self, serve: Serve) -> None:
        site, gate = await self.serve_narrow(serve), Gate()
        site.bridge.channel("job.{number}")(gate.allow)
        channels = [f"job.{number}" for number in range(20)]
        for channel in channels:
            await site.fill(channel, ["x" * 1_000] * 300)
        reader, watcher = await site.connect_slowly("slow", "none"), await site.watch()
        await reader.subscribe("job.0")
        slow = site.connection_of("slow")
        gate.close_after(0)
        for channel in channels:
            await reader.send(
                "subscribe", channel=channel, position=await self.start(site, channel)
            )
        await until(lambda: sum(bool(one.task) for one in slow.subscriptions) == len(channels))
        gate.open()
        await until(lambda: not slow.has_room)
        for _ in range(50):
            await watcher.notices_nothing()
        assert slow.unsent_bytes < 512 * 1024
        got = [await reader.skip_to("subscribed") for _ in channels]
        assert {len(page["events"]) for page in got} == {300}

    async def start(self, site: Site, channel: str) -> Frame:
        top = (await site.context.pipeline.log.positions([channel]))[channel]
        return {"epoch": top.epoch, "offset": 0}

    async def test_reader_that_pings_and_reads_nothing_fills_no_memory(self, serve: Serve) -> None:
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
        assert self.limit < slow.unsent_bytes < self.limit + 1_000
        for _ in range(5_000):
            await reader.expect("pong")
