"""Short selection of the lab's schedules; `make load` runs all."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from tests.lab import report
from tests.lab.processes import build_client
from tests.lab.run import Run, run
from tests.lab.schedules import SELECTION, find

AT_A_TIME = 2
"""Schedules that run at the same time: they mostly wait for the time limits of the system."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Mapping[str, asyncio.Task[Run]]]:
    """Start the schedules of all selected tests, and return the tasks that run them."""
    bundle = build_client(tmp_path_factory.mktemp("client"))
    slots = asyncio.Semaphore(AT_A_TIME)

    async def run_in_turn(name: str, folder: Path) -> Run:
        (schedule,) = find([name], is_long=False)
        async with slots:
            return await run(schedule, folder, bundle)

    tests = [item for item in request.session.items if item.path == request.path]
    chosen = [name for name in SELECTION if any(f"[{name}]" in test.name for test in tests)]
    tasks = {
        name: asyncio.create_task(run_in_turn(name, tmp_path_factory.mktemp(name)))
        for name in chosen
    }
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.timed
@pytest.mark.timeout(240)
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", SELECTION)
async def test_clients_keep_every_promise_under_faults(
    name: str, runs: Mapping[str, asyncio.Task[Run]]
) -> None:
    finished = await runs[name]
    lines = [report.HEAD, report.line(finished), *report.story(finished)]
    assert finished.verdict.is_ok, "\n".join(lines)
