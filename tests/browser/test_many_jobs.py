"""Page with very many jobs: few progress events of each, and its end."""

import asyncio
import os
import time
from collections import Counter

import pytest

from realtime_bridge.jobs.state import PROGRESS_INTERVAL
from tests.browser.pages import CHANNEL, Site, Tab

pytestmark = pytest.mark.asyncio(loop_scope="module")

JOBS, CALLS = 1_000 if "FULL_LOAD" in os.environ else 100, 1_000
EVENTS = "[...window.snapshots.flatMap(({ events }) => events), ...window.received]"
FIELDS = "[event, data.job, data.state, data.progress, data.version]"
STATES = f"{EVENTS}.map(({{ event, data }}) => {FIELDS})"
ENDED = f"new Set({STATES}.filter(state => state[2] === 'completed').map(state => state[1])).size"


async def work(site: Site, number: int) -> None:
    async with site.server.bridge.job(CHANNEL, id=str(number)) as job:
        async for _ in job.track(range(CALLS)):
            await asyncio.sleep(0)


async def test_progress_is_limited_and_every_job_completes(tab: Tab, site: Site) -> None:
    await tab.open(snapshots=1)
    await tab.live()
    started = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for number in range(JOBS):
            tasks.create_task(work(site, number))
    seconds = time.monotonic() - started
    await tab.until(f"{ENDED} >= {JOBS}", within=60)
    states = await tab.value(STATES)
    newest = {job: rest for _, job, *rest in sorted(states, key=lambda state: state[-1])}
    assert len(newest) == JOBS
    assert {(state, progress) for state, progress, _ in newest.values()} == {("completed", 1)}
    progress = Counter(job for event, job, *_ in states if event == "job.progress")
    assert max(progress.values()) <= 2 + seconds / PROGRESS_INTERVAL
