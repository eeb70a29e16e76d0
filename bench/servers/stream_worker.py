"""Worker that writes streams through the log of `REALTIME_BACKEND`, on commands of the bench.

Each item has the time at which it was appended, as `{"t":NANOSECONDS}`. Commands on standard input:
`first COUNT` writes so many streams of one item, one after the other, each when the next line
arrives; `many FIRST COUNT RATE SECONDS` writes COUNT streams side by side from the next line on, on
the channels from `bench-FIRST` on, with RATE items a second each.
"""

import asyncio
import sys
import time
from contextlib import AsyncExitStack

import uvloop

from realtime_bridge import Broadcaster

SLICES = 10
"""Parts of the streams that append in turn: tokens of real streams do not come all at once."""


def token() -> dict[str, object]:
    """Return an item with the time."""
    return {"t": time.monotonic_ns(), "text": " token"}


async def first(broadcaster: Broadcaster, count: int) -> None:
    for _ in range(count):
        await asyncio.to_thread(sys.stdin.readline)
        async with broadcaster.stream("bench-0", format="json") as stream:
            stream.append(token())


async def many(
    broadcaster: Broadcaster, first_channel: int, count: int, rate: int, seconds: int
) -> None:
    async with AsyncExitStack() as exits:
        streams = [
            await exits.enter_async_context(broadcaster.stream(f"bench-{number}", format="json"))
            for number in range(first_channel, first_channel + count)
        ]
        await asyncio.to_thread(sys.stdin.readline)
        start = time.monotonic()
        for turn in range(rate * seconds * SLICES):
            for stream in streams[turn % SLICES :: SLICES]:
                stream.append(token())
            await asyncio.sleep(max(0.0, start + (turn + 1) / (rate * SLICES) - time.monotonic()))
        print("done", flush=True)


async def main() -> None:
    command, *numbers = sys.stdin.readline().split()
    async with Broadcaster.from_env() as broadcaster:
        await broadcaster.publish("bench-warm", "bench.step")  # the log's script is loaded
        print("ready", flush=True)
        work = {"first": first, "many": many}[command]
        await work(broadcaster, *map(int, numbers))


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
