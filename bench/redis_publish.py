"""Publishing of one worker through Redis, compared with bare redis-py, also without our script.

`python -m bench.redis_publish` starts a Redis of its own. "Bare" sends commands that were made
before the measurement, so our whole work per event, from the checks to the receipt, is our cost.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import orjson
from redis.asyncio import Redis as AsyncRedis

from realtime_bridge import Broadcaster, Event
from realtime_bridge_backends.redis import RedisBackend
from tests.services.redis import RedisServer

ROUNDS, SINGLES, BATCHES, BATCH = 7, 2_000, 100, 100
DATA = {"text": "x" * 180}

Command = tuple[Any, ...]
Step = Callable[[Any], Awaitable[object]]


def event() -> Event:
    return Event(channel="job.7", event="job.step", data=DATA)


def command(log: RedisBackend, *events: Event) -> Command:
    return log._scripts._command(log._append_call(events))


async def rate(step: Step, arguments: Sequence[Any], events: int) -> float:
    """Call `step` with each argument, and return the events per second."""
    start = perf_counter()
    for argument in arguments:
        await step(argument)
    return events / (perf_counter() - start)


class Publishing:
    """Publishing by realtime_bridge and by bare commands, measured in turn."""

    def __init__(self, log: RedisBackend, client: AsyncRedis) -> None:
        self._log = log
        self._broadcaster = Broadcaster(log=log)
        self._client = client

    async def singles(self) -> tuple[float, ...]:
        commands = [command(self._log, event()) for _ in range(SINGLES)]
        return (
            await rate(self._publish, range(SINGLES), SINGLES),
            await rate(
                lambda arguments: self._client.execute_command(*arguments), commands, SINGLES
            ),
        )

    async def batches(self) -> tuple[float, ...]:
        """Measure `publish_many`, and pipelines: XADD and PUBLISH, a call each, a call with all."""
        calls = [[command(self._log, event()) for _ in range(BATCH)] for _ in range(BATCHES)]
        whole = [[command(self._log, *(event() for _ in range(BATCH)))] for _ in range(BATCHES)]
        total = BATCHES * BATCH
        return (
            await rate(self._publish_many, range(BATCHES), total),
            await rate(self._by_hand, range(BATCHES), total),
            await rate(self._pipeline, calls, total),
            await rate(self._pipeline, whole, total),
        )

    async def _publish(self, _: int) -> None:
        await self._broadcaster.publish("job.7", "job.step", DATA)

    async def _publish_many(self, _: int) -> None:
        await self._broadcaster.publish_many(event() for _ in range(BATCH))

    async def _by_hand(self, _: int) -> None:
        """Append and announce as a program without this library would: no ids, no positions."""
        pipeline = self._client.pipeline(transaction=False)
        for _ in range(BATCH):
            frame = orjson.dumps({"channel": "job.7", "event": "job.step", "data": DATA})
            pipeline.xadd("by-hand", {"event": frame}, maxlen=1_000, approximate=True)
            pipeline.publish("by-hand", frame)
        await pipeline.execute()

    async def _pipeline(self, commands: Sequence[Command]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for arguments in commands:
            pipeline.execute_command(*arguments)
        await pipeline.execute()


def show(name: str, rounds: Sequence[tuple[float, ...]], *others: str) -> None:
    ours = median(rates[0] for rates in rounds)
    print(f"{name:24}{ours:10,.0f} events/s")
    for number, other in enumerate(others, start=1):
        bare = median(rates[number] for rates in rounds)
        ratio = median(rates[0] / rates[number] for rates in rounds)
        print(f"  {other:22}{bare:10,.0f} events/s, ours is {ratio:.2f} of it")


async def measure(url: str) -> None:
    async with RedisBackend(url) as log, AsyncRedis.from_url(url) as client:
        await log.append([event()])  # the script is loaded
        publishing = Publishing(log, client)
        singles = [await publishing.singles() for _ in range(ROUNDS)]
        show("publish", singles, "the same call, bare")
        batches = [await publishing.batches() for _ in range(ROUNDS)]
        others = ("XADD and PUBLISH", f"pipeline of {BATCH} calls", "one bare call")
        show(f"publish_many of {BATCH}", batches, *others)


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        RedisServer(Path(folder) / "redis", "--save", "") as server,
    ):
        asyncio.run(measure(server.url))


if __name__ == "__main__":
    main()
