"""Tests of the checker of background work: it finds planted tasks and threads."""

import ast
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_tasks.py"
CHECKER = runpy.run_path(str(SCRIPT))
PROBLEMS: Callable[[ast.Module], Iterator[tuple[int, str]]] = CHECKER["problems"]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("task = asyncio.create_task(run())", "create_task"),
        ("loop.create_task(run())", "create_task"),
        ("call_soon(loop.create_task, run())", "create_task"),
        ("from asyncio import ensure_future", "ensure_future"),
        ("tasks = TaskGroup()", "TaskGroup"),
        ("threading.Thread(target=run).start()", "Thread"),
    ],
)
def test_planted_task_is_found(source: str, name: str) -> None:
    ((line, problem),) = PROBLEMS(ast.parse(source))
    assert (line, problem.partition(":")[0]) == (1, name)


@pytest.mark.parametrize(
    "source",
    ["supervisor.spawn('work', run())", "await asyncio.gather(run())", "task: asyncio.Task[None]"],
)
def test_allowed_code_has_no_problem(source: str) -> None:
    assert list(PROBLEMS(ast.parse(source))) == []


def test_each_exemption_has_a_file_and_a_reason() -> None:
    for name, reason in CHECKER["EXEMPT"].items():
        assert (CHECKER["ROOT"] / name).exists()
        assert reason
