"""Publishing in the server's process, and from another by the backend `websocket`."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.harness import LOAD_CORE, cpu_seconds, run_on_core
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
    """Return events per second, and µs of CPU of an event in the worker and in the server.

    One by one, 100 tasks at once, batches of 100 with four under way, and blocking.
    """
    with our_server() as server, run_on_core(LOAD_CORE):
        os.environ |= {
            "REALTIME_WEBSOCKET_URL": f"http://127.0.0.1:{server.port}/realtime",
            "REALTIME_SECRET": SECRET,
        }
        meter = _Meter(server.pid)
        asyncio.run(_from_another_process(events, meter))
        _blocking(events, meter)
        return meter.figures


class _Meter:
    """Rate and CPU time of publishes, here and in the server."""

    def __init__(self, server: int) -> None:
        self._server = server
        self.figures: dict[str, float] = {}

    @contextmanager
    def measure(self, name: str, events: int) -> Iterator[None]:
        """Measure a block that publishes so many events."""
        start, worker, server = time.perf_counter(), time.process_time(), cpu_seconds(self._server)
        yield
        self.figures[name] = events / (time.perf_counter() - start)
        self.figures[f"{name}, worker, µs of CPU"] = 1e6 * (time.process_time() - worker) / events
        used = cpu_seconds(self._server) - server
        self.figures[f"{name}, server, µs of CPU"] = 1e6 * used / events


async def _from_another_process(events: int, meter: _Meter) -> None:
    async with Broadcaster.from_env() as broadcaster:
        await broadcaster.publish("bench-0", "bench.step", DATA)
        with meter.measure("one by one", events):
            for _ in range(events):
                await broadcaster.publish("bench-0", "bench.step", DATA)
        with meter.measure("100 at once", events):
            for _ in range(events // 100):
                await asyncio.gather(
                    *(broadcaster.publish("bench-0", "bench.step", DATA) for _ in range(100))
                )
        with meter.measure("batches of 100", 4 * events):
            await asyncio.gather(*(_batches(broadcaster, events // 100) for _ in range(4)))


async def _batches(broadcaster: Broadcaster, count: int) -> None:
    for _ in range(count):
        await broadcaster.publish_many(
            [Event(channel="bench-0", event="bench.step", data=DATA) for _ in range(100)]
        )


def _blocking(events: int, meter: _Meter) -> None:
    with BlockingBroadcaster.from_env() as broadcaster:
        broadcaster.publish("bench-0", "bench.step", DATA)
        with meter.measure("blocking, one by one", events):
            for _ in range(events):
                broadcaster.publish("bench-0", "bench.step", DATA)
