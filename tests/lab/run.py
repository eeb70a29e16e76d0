"""Run of one schedule, from the start of its servers to the verdict."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab.deployment import Deployment
from tests.lab.faults import perform
from tests.lab.history import History, Record
from tests.lab.oracle import Verdict, is_recovered, judge
from tests.lab.schedule import Fault, Schedule

START_SECONDS = 30.0
"""Limit of the time until the first events arrive."""

WARM_UP = 1.0
"""Seconds of normal operation before the first fault."""

STEADY = 3.0
"""Seconds in which everything must stay current before the run ends early."""

SAMPLE_SECONDS = 2.0
"""Interval between two samples of the nodes' memory."""

LAST = 8.0
"""Seconds for a late client to recover, and for the last poll."""


@dataclass
class Run:
    """Finished run of a schedule."""

    history: History
    verdict: Verdict
    start: float
    """Unix time at which the schedule began."""
    late: float
    """Longest delay of the lab's own event loop, through which all links lead, in seconds."""


async def run(schedule: Schedule, folder: Path, bundle: Path) -> Run:
    """Run a schedule in an empty folder."""
    async with Deployment(schedule, folder, bundle) as deployment:
        await _wait_steady(deployment.history, START_SECONDS, steady=WARM_UP)
        start = time.time()
        async with asyncio.TaskGroup() as tasks:
            sampling = tasks.create_task(_sample_memory(deployment, schedule.duration))
            for fault in schedule.faults:
                tasks.create_task(_perform_at(deployment, fault.at, fault))
        limit = max(schedule.limits.current, schedule.limits.green)
        await _wait_steady(deployment.history, limit + LAST, steady=STEADY)
        await deployment.publisher.finish()
        await _wait_complete(deployment.history)
        end = time.time()
        await deployment.finish_clients()
        for number, at, line in deployment.cluster.logs():
            if not line.startswith("serving "):
                record = Record(at, f"node:{number}", "line", text=line)
                deployment.history.records.append(record)
    history = deployment.history
    history.write(folder / "records.jsonl")
    return Run(history, judge(history, schedule, end), start, sampling.result())


async def _sample_memory(deployment: Deployment, seconds: float) -> float:
    """Record the memory of the nodes, and return the longest delay of a sample, in seconds."""
    late = 0.0
    for _ in range(int(seconds / SAMPLE_SECONDS)):
        begin = time.monotonic()
        await asyncio.sleep(SAMPLE_SECONDS)
        late = max(late, time.monotonic() - begin - SAMPLE_SECONDS)
        deployment.sample_memory()
    return late


async def _perform_at(deployment: Deployment, at: float, fault: Fault) -> None:
    await asyncio.sleep(at)
    await perform(deployment, fault)


async def _wait_steady(history: History, limit: float, *, steady: float) -> None:
    """Wait until new events arrive and everything is current and green for some seconds."""
    begin = time.time()
    since = None
    while (now := time.time()) < begin + limit:
        is_new = any(record.at > begin for record in history.of("acknowledged"))
        since = (since or now) if is_new and is_recovered(history, now) else None
        if since and now - since >= steady:
            return
        await asyncio.sleep(0.5)


async def _wait_complete(history: History) -> None:
    """Wait until every client has every event, at most for the longest interval of polls."""
    begin = time.time()
    while True:
        if is_recovered(history, begin, late=0) or time.time() > begin + LAST:
            return
        await asyncio.sleep(0.2)
