"""Publishing in the server's process, and from another by the backend `websocket`."""

import asyncio
import json
import os
import time
from typing import Any

from bench.harness import LOAD_CORE, run_on_core
from bench.reference import reference_us
from bench.servers.driver import SECRET
from bench.storms import our_server
from realtime_bridge import BlockingBroadcaster, Broadcaster, Event

DATA = {"x": "x" * 190}


def in_the_server(channels: int, events: int, batch: int) -> dict[str, float]:
    """Return the rate and the cost of an event, on channels without subscribers."""
    with our_server() as server:
        for count in (channels, events):  # at first each channel once
            server.send(f"time {channels} {count} {batch}")
            assert server.process.stdout
            result: dict[str, float] = json.loads(server.process.stdout.readline())
        return result | {"reference_us": reference_us()}


def from_another_process(events: int) -> dict[str, float]:
    """Return events per second: one by one, 100 tasks at once, batches of 100, and blocking."""
    with our_server() as server, run_on_core(LOAD_CORE):
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

        async def hundred_at_once() -> None:
            for _ in range(events // 100):
                await asyncio.gather(
                    *(broadcaster.publish("bench-0", "bench.step", DATA) for _ in range(100))
                )

        async def batches() -> None:
            pending: set[asyncio.Task[Any]] = set()
            for _ in range(events // 20):
                batch = [
                    Event(channel="bench-0", event="bench.step", data=DATA) for _ in range(100)
                ]
                pending.add(asyncio.ensure_future(broadcaster.publish_many(batch)))
                if len(pending) == 4:
                    _, pending = await asyncio.wait(pending, return_when="FIRST_COMPLETED")
            await asyncio.wait(pending)

        return {
            "one": events / await _duration(one_by_one),
            "100 at once": events / await _duration(hundred_at_once),
            "batches": 5 * events / await _duration(batches),
        }


async def _duration(work: Any) -> float:
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


def _blocking(events: int) -> float:
    with BlockingBroadcaster.from_env() as broadcaster:
        broadcaster.publish("bench-0", "bench.step", DATA)
        start = time.perf_counter()
        for _ in range(events):
            broadcaster.publish("bench-0", "bench.step", DATA)
        return events / (time.perf_counter() - start)
