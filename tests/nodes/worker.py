"""A worker process that publishes for a while, and says what it was told is in the log."""

import asyncio
import sys
from collections import defaultdict
from collections.abc import Sequence

import orjson

from realtime_bridge import Broadcaster, Event, PublishError
from realtime_bridge.model.ids import event_id

BATCH = 20


async def work(number: int, count: int, channels: Sequence[str], seconds: float) -> None:
    """Publish `count` events, evenly over so many seconds; what fails is tried again."""
    ids: dict[str, list[str]] = defaultdict(list)
    refused = 0
    async with Broadcaster.from_env() as broadcaster:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for start in range(0, count, BATCH):
            batch = [made(number, n, channels) for n in range(start, min(start + BATCH, count))]
            refused += await publish(broadcaster, batch)
            for event in batch:
                ids[event.channel].append(event.id)
            await asyncio.sleep(begun + seconds * start / count - loop.time())
    sys.stdout.write(orjson.dumps({"ids": ids, "refused": refused}).decode())


def made(number: int, n: int, channels: Sequence[str]) -> Event:
    """Make this worker's n-th event; it has its own way through the channels."""
    channel = channels[(n * (2 * number + 1) + number) % len(channels)]
    data = {"worker": number, "n": n}
    return Event(channel=channel, event="job.step", data=data, id=event_id())


async def publish(broadcaster: Broadcaster, batch: Sequence[Event]) -> int:
    """Publish until it is in the log, and return how often it was not."""
    refused = 0
    while True:
        try:
            await broadcaster.publish_many(batch)
        except PublishError as error:
            if not error.retryable:
                raise
            refused += 1
            await asyncio.sleep(0.1)
        else:
            return refused


if __name__ == "__main__":
    asyncio.run(work(*orjson.loads(sys.argv[1])))
