"""Worker process that publishes events, and reports the acknowledged ids."""

import asyncio
import sys
from collections import defaultdict
from collections.abc import Sequence

import orjson

from realtime_bridge import Broadcaster, Event, PublishError
from realtime_bridge.model.ids import event_id

BATCH = 20


async def work(number: int, count: int, channels: Sequence[str], seconds: float) -> None:
    """Publish `count` events, evenly over `seconds`; repeat failed publishes."""
    ids: dict[str, list[str]] = defaultdict(list)
    retries = 0
    async with Broadcaster.from_env() as broadcaster:
        loop = asyncio.get_running_loop()
        started = loop.time()
        for start in range(0, count, BATCH):
            batch = [
                make_event(number, n, channels) for n in range(start, min(start + BATCH, count))
            ]
            retries += await publish(broadcaster, batch)
            for event in batch:
                ids[event.channel].append(event.id)
            await asyncio.sleep(started + seconds * start / count - loop.time())
    sys.stdout.write(orjson.dumps({"ids": ids, "retries": retries}).decode())


def make_event(number: int, n: int, channels: Sequence[str]) -> Event:
    """Create this worker's n-th event; each worker has its own order of the channels."""
    channel = channels[(n * (2 * number + 1) + number) % len(channels)]
    data = {"worker": number, "n": n}
    return Event(channel=channel, event="job.step", data=data, id=event_id())


async def publish(broadcaster: Broadcaster, batch: Sequence[Event]) -> int:
    """Publish until the log has the batch; return the number of failed attempts."""
    retries = 0
    while True:
        try:
            await broadcaster.publish_many(batch)
        except PublishError as error:
            if not error.retryable:
                raise
            retries += 1
            await asyncio.sleep(0.1)
        else:
            return retries


if __name__ == "__main__":
    asyncio.run(work(*orjson.loads(sys.argv[1])))
