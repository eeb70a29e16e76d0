"""Time from a cancel to its exception in a job, and cost of jobs while the log is down.

`python -m bench.job_control` starts a Redis of its own.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from realtime_bridge import BlockingBroadcaster, Broadcaster, JobCancelledError
from realtime_bridge.jobs.async_job import AsyncJob
from realtime_bridge_backends.redis import RedisBackend
from tests.services.redis import RedisServer

CHANNEL, JOBS = "user-42", 20
DOWN_JOBS = 10

Make = Callable[[], Broadcaster]


async def cancelled_after(people: Broadcaster, job: AsyncJob, *, reports: bool) -> float:
    """Return the seconds from a cancel to the exception, in a job that reports or is silent."""
    moment = 0.0

    async def cancel() -> None:
        nonlocal moment
        await asyncio.sleep(random.uniform(2, 8))
        moment = time.monotonic()
        await people.cancel_job(CHANNEL, job.id)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(cancel())
        try:
            async with job:
                while True:
                    await asyncio.sleep(0.02 if reports else 3_600)
                    job.progress(random.random())
        except JobCancelledError:
            return time.monotonic() - moment
    raise AssertionError("the job was not cancelled")


async def measure_cancels(make: Make) -> None:
    """Print the times of jobs that report, and of silent ones."""
    for kind, reports in (("that reports", True), ("that is silent", False)):
        async with make() as people, make() as worker:
            jobs = [worker.job(CHANNEL, cancellable=True) for _ in range(JOBS)]
            runs = (cancelled_after(people, job, reports=reports) for job in jobs)
            seconds = sorted(await asyncio.gather(*runs))
        print(
            f"cancel of a job {kind}: {median(seconds):.2f} s at the median, "
            f"{seconds[-1]:.2f} s at most, of {JOBS}"
        )


def run_jobs(broadcaster: BlockingBroadcaster) -> float:
    """Run jobs one after the other, and return their seconds."""
    start = time.monotonic()
    for _ in range(DOWN_JOBS):
        with broadcaster.job(CHANNEL) as job:
            for step in range(5):
                job.progress(step / 5)
    return time.monotonic() - start


def measure_outage(make: Make, server: RedisServer) -> None:
    """Print what the same jobs cost more without the log."""
    with BlockingBroadcaster(make) as broadcaster:
        run_jobs(broadcaster)
        up = run_jobs(broadcaster)
        server.kill()
        down = run_jobs(broadcaster)
        server.start()
    print(f"{DOWN_JOBS} jobs: {up:.2f} s, and {down:.2f} s while the log is down")


def main() -> None:
    """Run the measurements."""
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:

        def make() -> Broadcaster:
            return Broadcaster(log=RedisBackend(server.url))

        asyncio.run(measure_cancels(make))
        measure_outage(make, server)


if __name__ == "__main__":
    main()
