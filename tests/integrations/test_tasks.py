"""Parts that the integrations of all queues share: arguments by name, and the current job."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from realtime_bridge import BlockingBroadcaster, Broadcaster
from realtime_bridge.integrations.tasks import (
    Task,
    TaskReporter,
    arguments_by_name,
    current_job,
)
from realtime_bridge_backends.memory import MemoryBackend


def plain(user_id: int, name: str = "a", *rest: int, flag: bool = False, **more: int) -> None:
    """Task with every kind of parameter."""


def keyword(*, user_id: int) -> None:
    """Task that takes no argument by position."""


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "named"),
    [
        (plain, (1,), {}, {"user_id": 1, "name": "a", "flag": False}),
        (plain, (1, "b", 2), {"x": 3}, {"user_id": 1, "name": "b", "flag": False, "x": 3}),
        (plain, (), {"user_id": 1, "flag": True}, {"user_id": 1, "name": "a", "flag": True}),
        (keyword, (1,), {}, {}),
        (None, (1,), {"user_id": 1}, {"user_id": 1}),
        (print, (1,), {"sep": ""}, {"sep": "", "end": "\n", "file": None, "flush": False}),
    ],
)
def test_arguments_have_their_names(
    function: Callable[..., Any] | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    named: dict[str, Any],
) -> None:
    assert arguments_by_name(function, args, kwargs) == named


def test_job_outside_of_a_task_reports_nothing() -> None:
    with current_job() as job:
        job.progress(0.5, "Half way", stage="work")
        assert [*job.track([1, 2])] == [1, 2]
        with job.stream(id="m1") as stream:
            stream.append("one ")
            assert stream.write(["two"])
        assert (stream.id, stream.text, stream.attempt) == ("m1", "one two", job.attempt)
        assert job.report("completed")
    assert job.unsent() is None


@pytest.mark.parametrize("channel", [None, KeyError("user_id"), "no channel!"])
def test_task_without_a_job_has_a_silent_one(channel: str | KeyError | None) -> None:
    def choose(_: Task) -> str | None:
        if isinstance(channel, KeyError):
            raise channel
        return channel

    reporter = TaskReporter(BlockingBroadcaster.from_env(), choose, None)
    task = Task(id="1", name="work")
    reporter.started(task)
    current_job().progress(0.5)
    reporter.completed(task)


@pytest.mark.parametrize(("attempt", "code"), [("first", "cancelling"), ("second", "ended")])
def test_report_of_a_killed_process_ends_its_own_run_alone(attempt: str, code: str) -> None:
    def report(name: str, attempt: str, *texts: str) -> None:
        reporter = TaskReporter(broadcaster, lambda _: "user-42", cancellable=lambda _: True)
        task = Task(id="1", name="work", attempt=attempt)
        # In a thread of its own, as in a process of its own: no other run is known there.
        thread = threading.Thread(target=getattr(reporter, name), args=(task, *texts))
        thread.start()
        thread.join()

    with BlockingBroadcaster(lambda: Broadcaster(log=MemoryBackend())) as broadcaster:
        report("started", "first")
        report("started", "second")
        report("failed", attempt, "killed")
        assert broadcaster.cancel_job("user-42", "1").code == code
