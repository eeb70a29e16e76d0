"""Publishing: in the server's process, and from another through the backend `websocket`."""

import asyncio
import json
import os
import time
from typing import Any

from bench.servers.driven import SECRET
from bench.site import LOAD_CORE, moved_to
from bench.storms import ours
from realtime_bridge import BlockingBroadcaster, Broadcaster, Event

DATA = {"x": "x" * 190}


def in_the_server(channels: int, events: int, batch: int) -> dict[str, float]:
    """Return events a second, and microseconds each, on channels that nobody watches."""
    with ours() as server:
        for count in (channels, events):  # first all channels once
            server.tell(f"time {channels} {count} {batch}")
            assert server.process.stdout
            result: dict[str, float] = json.loads(server.process.stdout.readline())
        return result


def from_another_process(events: int) -> dict[str, float]:
    """Return events a second: one by one, in batches of 100, and blocking one by one."""
    with ours() as server, moved_to(LOAD_CORE):
        os.environ |= {
            "REALTIME_WEBSOCKET_URL": f"http://127.0.0.1:{server.port}/realtime",
            "REALTIME_SECRET": SECRET,
        }
        rates = asyncio.run(_from_another_process(events))
        return rates | {"blocking": _blocking(events)}


async def _from_another_process(events: int) -> dict[str, float]:
    async with Broadcaster.from_env() as broadcaster:
        await broadcaster.publish("bench-0", "bench.step", DATA)

        async def one_by_one() -> None:
            for _ in range(events):
                await broadcaster.publish("bench-0", "bench.step", DATA)

        async def batches() -> None:
            waiting: set[asyncio.Task[Any]] = set()
            for _ in range(events // 20):
                batch = [
                    Event(channel="bench-0", event="bench.step", data=DATA) for _ in range(100)
                ]
                waiting.add(asyncio.ensure_future(broadcaster.publish_many(batch)))
                if len(waiting) == 4:
                    _, waiting = await asyncio.wait(waiting, return_when="FIRST_COMPLETED")
            await asyncio.wait(waiting)

        return {
            "one": events / await _took(one_by_one),
            "batches": 5 * events / await _took(batches),
        }


async def _took(work: Any) -> float:
    begun = time.perf_counter()
    await work()
    return time.perf_counter() - begun


def _blocking(events: int) -> float:
    with BlockingBroadcaster.from_env() as broadcaster:
        broadcaster.publish("bench-0", "bench.step", DATA)
        begun = time.perf_counter()
        for _ in range(events):
            broadcaster.publish("bench-0", "bench.step", DATA)
        return events / (time.perf_counter() - begun)
