"""Short selection of the lab's schedules; `make load` runs all."""

from pathlib import Path

import pytest

from tests.lab import report
from tests.lab.processes import build_client
from tests.lab.run import run
from tests.lab.schedules import SELECTION, find


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_client(tmp_path_factory.mktemp("client"))


@pytest.mark.timed
@pytest.mark.parametrize("name", SELECTION)
async def test_clients_keep_every_promise_under_faults(
    name: str, bundle: Path, tmp_path: Path
) -> None:
    (schedule,) = find([name], is_long=False)
    finished = await run(schedule, tmp_path, bundle)
    lines = [report.HEAD, report.line(finished), *report.story(finished)]
    assert finished.verdict.is_ok, "\n".join(lines)
