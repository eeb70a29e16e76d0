"""CPU cost of the leases of 1 000 open jobs on Redis: python bench/job_leases.py redis://…"""

import asyncio
import sys
import time

from realtime_bridge import Broadcaster
from realtime_bridge.publishing.timing import PublishTiming
from realtime_bridge_backends.redis import RedisBackend

JOBS, SECONDS, INTERVAL = 1_000, 30.0, 5.0


async def main(url: str) -> None:
    timing = PublishTiming(renew_seconds=INTERVAL)
    async with Broadcaster(log=RedisBackend(url), timing=timing) as broadcaster:
        jobs = [broadcaster.job(f"user-{n % 100}", title="Measured") for n in range(JOBS)]
        await asyncio.gather(*(job.__aenter__() for job in jobs))
        await asyncio.sleep(INTERVAL)  # the starts are published
        begun = time.process_time()
        await asyncio.sleep(SECONDS)
        cost = (time.process_time() - begun) * INTERVAL / SECONDS
        print(f"{JOBS:,} open jobs: {1_000 * cost:.1f} ms of CPU every {INTERVAL:g} s")
        await asyncio.gather(*(job.__aexit__(None, None, None) for job in jobs))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
