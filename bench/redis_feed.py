"""Speed of a node on events of Redis: feed → hub → subscriber.

`python -m bench.redis_feed` starts a Redis and a publisher of its own, which stays at most a few
thousand events ahead: the measurement is of the node, and not of a queue.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from realtime_bridge import Broadcaster, Event
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.model.page import Page
from realtime_bridge.model.reset import Reset
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.fanout.subscriber import Subscriber
from realtime_bridge_backends.redis import RedisBackend
from tests.services.redis import RedisServer

CHANNEL, DATA = "job.7", {"text": "x" * 180}
ROUNDS, TURNS, AHEAD, BATCH = 5, 20, 4_000, 20


class Counter(Subscriber):
    """Subscriber that counts events."""

    def __init__(self) -> None:
        self.count = 0
        self.target = 0
        self.reached = asyncio.Event()

    def deliver(self, channel: str, frames: Sequence[bytes]) -> bool:
        self.count += len(frames)
        if self.count >= self.target:
            self.reached.set()
        return True

    def subscribed(self, channel: str, page: Page, *, recovered: bool) -> None:
        self.count = 0

    def reset(self, channel: str, reset: Reset) -> None:
        raise AssertionError(reset)


async def measure(url: str) -> tuple[float, float]:
    """Return events per second of time, and per second of this process's CPU time."""
    async with RedisBackend(url) as log, Supervisor() as tasks:
        hub, counter = Hub(log, log), Counter()
        tasks.run("feed", hub.run)
        await hub.wait_until_ready(5)
        await hub.subscribe(counter, CHANNEL, None)
        command = (sys.executable, "-m", "bench.redis_feed", url)
        publisher = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE)
        assert publisher.stdin
        start, cpu_start = perf_counter(), process_time()
        for turn in range(TURNS):
            counter.target = AHEAD * (turn + 1)
            counter.reached.clear()
            publisher.stdin.write(b"\n")
            await counter.reached.wait()
            if turn == 0:
                start, cpu_start = perf_counter(), process_time()
        rest = AHEAD * (TURNS - 1)
        rates = rest / (perf_counter() - start), rest / (process_time() - cpu_start)
        publisher.stdin.close()
        await publisher.wait()
    return rates


async def publish(url: str) -> None:
    """Publish AHEAD events for each line of standard input."""
    async with Broadcaster(log=RedisBackend(url)) as broadcaster:
        while await asyncio.to_thread(sys.stdin.readline):
            for _ in range(AHEAD // BATCH):
                await broadcaster.publish_many(
                    Event(channel=CHANNEL, event="job.step", data=DATA) for _ in range(BATCH)
                )


async def main() -> None:
    with RedisServer(Path(tempfile.mkdtemp()), "--save", "") as server:
        rates = [await measure(server.url) for _ in range(ROUNDS)]
    by_time, by_cpu = (median(column) for column in zip(*rates, strict=True))
    print(
        f"feed → hub: {by_cpu:,.0f} events per second of CPU; {by_time:,.0f}/s with its publisher"
    )


if __name__ == "__main__":
    asyncio.run(publish(sys.argv[1]) if sys.argv[1:] else main())
