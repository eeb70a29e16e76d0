"""Task of a queue that reports as a job: it can be cancelled, and asks people."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from realtime_bridge.errors import (
    AnswerTimeoutError,
    JobCancelledError,
    JobSupersededError,
)
from realtime_bridge.jobs.async_job import AsyncJob
from realtime_bridge.publishing.broadcaster import Broadcaster
from realtime_bridge.testing.simulation.stream_job import Stop

STEP_SECONDS = {"quick": (0.05, 4.0), "slow": (20.0, 70.0)}
"""Seconds between two steps."""

ANSWER_SECONDS = 20.0
"""Time in which a question should be answered."""


@dataclass(slots=True)
class Task:
    """Task of a queue.

    Args:
        channel: the channel.
        id: the id of its job.
        steps: the number of steps.
        lease: the seconds of silence after which the job is lost.
        asks_after: the number of steps after which it asks people; None: it asks nothing.
        redelivery: seconds after which the queue gives the task to another worker, when its worker
            ended or seems to have ended; None: never.
        cancel: when a person cancels it.
        pace: the name of the waits between steps.

    """

    channel: str
    id: str
    steps: int
    lease: float
    asks_after: int | None = None
    redelivery: float | None = None
    cancel: Stop = "never"
    pace: str = "quick"

    @property
    def key(self) -> str:
        """Key of the job's events."""
        return f"job-{self.id}"


@dataclass(slots=True)
class TaskAttempt:
    """Run of a task in one process.

    Args:
        job: the task.
        run: the job as the application has it.

    """

    job: Task
    run: AsyncJob
    is_running: bool = True
    """True until the application has left the job's block."""
    is_dead: bool = False
    """True if its process was killed."""
    end: str | None = None
    """State in which the application left the block."""
    ended_at: float = 0.0
    asked: str | None = None
    """Id of the question that waits for an answer."""
    asked_at: float = 0.0
    """Moment of that question."""


class TaskObserver(Protocol):
    """Simulation, as the runs of tasks see it."""

    def begun_task(self, attempt: TaskAttempt) -> None:
        """Observe the begin of a run."""

    def asking(self, attempt: TaskAttempt, question: str) -> None:
        """Observe a question."""

    def answered(self, attempt: TaskAttempt, question: str, value: Any) -> None:
        """Observe the answer that the application receives."""

    def abandoned_task(self, task: Task) -> None:
        """Observe that a worker with a task ended, or seems to have ended."""

    def finishing_task(self, attempt: TaskAttempt) -> None:
        """Observe that a run has done its last step."""

    def log_line(self, who: str, what: str) -> None:
        """Add a line to the trace."""


async def run_task(
    broadcaster: Broadcaster,
    task: Task,
    random: Random,
    observer: TaskObserver,
    own: Callable[[TaskAttempt], None],
) -> None:
    """Run a task once."""
    job = broadcaster.job(task.channel, id=task.id, cancellable=True, lease=task.lease)
    attempt = TaskAttempt(task, job)
    own(attempt)
    observer.begun_task(attempt)
    try:
        async with job:
            await _work(attempt, random, observer)
        attempt.end = "completed"
    except JobCancelledError:
        attempt.end = "cancelled"
    except JobSupersededError:
        attempt.end = "superseded"
    finally:
        attempt.is_running = False
        attempt.ended_at = asyncio.get_running_loop().time()
        observer.log_line("task", f"{task.id} by {job.attempt} is {attempt.end}")


async def _work(attempt: TaskAttempt, random: Random, observer: TaskObserver) -> None:
    task, job = attempt.job, attempt.run
    for step in range(task.steps):
        await asyncio.sleep(random.uniform(*STEP_SECONDS[task.pace]))
        job.progress(step / task.steps)
        if step == task.asks_after:
            await _ask(attempt, f"question-{job.attempt}", observer)
    observer.finishing_task(attempt)


async def _ask(attempt: TaskAttempt, question: str, observer: TaskObserver) -> None:
    attempt.asked, attempt.asked_at = question, asyncio.get_running_loop().time()
    observer.asking(attempt, question)
    try:
        value = await attempt.run.ask("Go on?", id=question, timeout=ANSWER_SECONDS)
    except AnswerTimeoutError:
        return
    finally:
        attempt.asked = None
    observer.answered(attempt, question, value)
