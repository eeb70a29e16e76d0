"""How fast a node takes what Redis announces: feed → hub → a subscriber.

`python -m bench.redis_feed` starts a Redis and a publisher of its own, which stays at most a few
thousand events ahead, so that the node is measured and no queue.
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
from realtime_bridge.model.page import Page
from realtime_bridge.model.reset import Reset
from realtime_bridge.server.fanout.channel_fanout import Subscriber
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge_backends.redis import RedisBackend
from tests.services.redis import RedisServer

CHANNEL, DATA = "job.7", {"text": "x" * 180}
ROUNDS, TURNS, AHEAD, BATCH = 5, 20, 4_000, 20


class Count(Subscriber):
    """A subscriber that counts."""

    def __init__(self) -> None:
        self.count = 0
        self.wanted = 0
        self.reached = asyncio.Event()

    def deliver(self, channel: str, frames: Sequence[bytes]) -> bool:
        self.count += len(frames)
        if self.count >= self.wanted:
            self.reached.set()
        return True

    def subscribed(self, channel: str, page: Page, *, recovered: bool) -> None:
        self.count = 0

    def reset(self, channel: str, reset: Reset) -> None:
        raise AssertionError(reset)


async def hear(url: str) -> tuple[float, float]:
    """Return events a second, by the clock and by this process's CPU."""
    async with RedisBackend(url) as log:
        hub, counter = Hub(log, log), Count()
        running = asyncio.create_task(hub.run())
        await hub.wait_until_ready(5)
        await hub.subscribe(counter, CHANNEL, None)
        command = (sys.executable, "-m", "bench.redis_feed", url)
        publisher = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE)
        assert publisher.stdin
        begun, used = perf_counter(), process_time()
        for turn in range(TURNS):
            counter.wanted = AHEAD * (turn + 1)
            counter.reached.clear()
            publisher.stdin.write(b"\n")
            await counter.reached.wait()
            if turn == 0:
                begun, used = perf_counter(), process_time()
        rest = AHEAD * (TURNS - 1)
        rates = rest / (perf_counter() - begun), rest / (process_time() - used)
        publisher.stdin.close()
        await publisher.wait()
        running.cancel()
    return rates


async def publish(url: str) -> None:
    """Publish so many events for each line of standard input."""
    async with Broadcaster(log=RedisBackend(url)) as broadcaster:
        while await asyncio.to_thread(sys.stdin.readline):
            for _ in range(AHEAD // BATCH):
                await broadcaster.publish_many(
                    Event(channel=CHANNEL, event="job.step", data=DATA) for _ in range(BATCH)
                )


async def main() -> None:
    with RedisServer(Path(tempfile.mkdtemp()), "--save", "") as server:
        rates = [await hear(server.url) for _ in range(ROUNDS)]
    clock, used = (median(column) for column in zip(*rates, strict=True))
    print(f"feed → hub: {used:,.0f} events per second of CPU; {clock:,.0f}/s with its publisher")


if __name__ == "__main__":
    asyncio.run(publish(sys.argv[1]) if sys.argv[1:] else main())
