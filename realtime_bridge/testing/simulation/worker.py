"""Worker process of a simulation: it publishes the steps of jobs through the real broadcaster."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from realtime_bridge.model.event import Event, create_event
from realtime_bridge.publishing.broadcaster import Broadcaster
from realtime_bridge.testing.simulation.log_link import LogConnection, SimulatedLog
from realtime_bridge.testing.simulation.process import Process
from realtime_bridge.testing.simulation.stream_job import (
    Attempt,
    StreamJob,
    StreamObserver,
    run_attempts,
)
from realtime_bridge.testing.simulation.task_job import Task, TaskAttempt, TaskObserver, run_task
from realtime_bridge.testing.simulation.virtual_loop import VirtualLoop

PACES = {"steady": (0.3, 5.0), "burst": (0.0, 0.03), "stutter": (0.0, 0.6)}
"""Seconds between two steps."""

PAUSE_SECONDS, PAUSE_SHARE = (6.0, 12.0), 0.3
"""Length of a stutter's pauses, and the share of its steps that precede one."""

RETRY_SECONDS = (0.2, 2.0)


@dataclass(slots=True)
class Job:
    """Job whose steps are published one after another.

    Args:
        channels: each step has an event on each channel.
        key: the key of its events.
        steps: the number of steps.
        source: the id of the client that began it.
        pace: the name of the waits between steps.
        steps_at_once: the number of steps in one batch.
        step: the next step.

    """

    channels: Sequence[str]
    key: str
    steps: int
    source: str | None
    pace: str = "steady"
    steps_at_once: int = 1
    step: int = 1


class Worker:
    """Worker that repeats each publish until it is acknowledged, also after a restart.

    Args:
        loop: the event loop.
        number: the number of the worker.
        random: draws waits.
        log: the way to the log.
        application: the application's own state: the step of each job, by channel.
        report: receives each acknowledged batch.
        observer: observes the streams.
        task_observer: observes the tasks.

    """

    def __init__(
        self,
        loop: VirtualLoop,
        number: int,
        random: Random,
        log: LogConnection,
        application: dict[str, dict[str, Any]],
        report: Any,
        observer: StreamObserver,
        task_observer: TaskObserver,
    ) -> None:
        self.log: LogConnection = log
        self._loop = loop
        self._random = random
        self._application = application
        self._report = report
        self._observer = observer
        self._task_observer = task_observer
        self._name = f"worker {number}"
        self._process = Process(self._name)
        self._jobs: dict[str, Job] = {}
        self._attempts: list[Attempt] = []
        """Attempts of the process, also those that have ended: their last items may wait."""
        self._task_attempts: list[TaskAttempt] = []
        self._log = SimulatedLog(log)
        self._broadcaster = Broadcaster(log=self._log)

    @property
    def is_frozen(self) -> bool:
        """True while the process is stopped."""
        return self._process.is_frozen

    def start_job(self, job: Job) -> None:
        """Begin a job."""
        self._jobs[job.key] = job
        self._loop.spawn(self._process, self._run(job))

    def start_stream(self, job: StreamJob) -> None:
        """Begin an attempt of a stream."""
        self._loop.spawn(self._process, self._write(job))

    def start_task(self, task: Task) -> None:
        """Begin a run of a task."""
        self._loop.spawn(self._process, self._run_task(task))

    def restart(self) -> None:
        """Kill the process; a new one continues the jobs, and the queue gives the streams again."""
        self._loop.thaw(self._process)
        self._process.cancel_tasks()
        self._abandon()
        self._log.is_dead = True
        for attempt in self._attempts:
            attempt.is_dead = True
        for run in self._task_attempts:
            run.is_dead = True
        self._attempts, self._task_attempts = [], []
        self._process = Process(self._name)
        self._log = SimulatedLog(self.log)
        self._broadcaster = Broadcaster(log=self._log)
        for job in list(self._jobs.values()):
            self._loop.spawn(self._process, self._run(job))

    def freeze(self) -> None:
        """Stop the process; for the queue it has ended."""
        self._loop.freeze(self._process)
        self._abandon()

    def thaw(self) -> None:
        """Continue the process: a zombie, if the queue has given its work to another."""
        self._loop.thaw(self._process)

    def stop(self) -> None:
        """End the process."""
        self._loop.thaw(self._process)
        self._process.cancel_tasks()

    async def _run(self, job: Job) -> None:
        while job.step <= job.steps:
            last = min(job.steps, job.step + job.steps_at_once - 1)
            await self._publish(job, last)
            job.step = last + 1
            await asyncio.sleep(self._draw_wait(job.pace))
        del self._jobs[job.key]

    async def _write(self, job: StreamJob) -> None:
        own = self._attempts.append
        await run_attempts(self._broadcaster, job, self._random, self._observer, own)

    async def _run_task(self, task: Task) -> None:
        own, observer = self._task_attempts.append, self._task_observer
        await run_task(self._broadcaster, task, self._random, observer, own)

    def _abandon(self) -> None:
        for run in self._task_attempts:
            if run.is_running:
                self._task_observer.abandoned_task(run.job)
        for attempt in self._attempts:
            if attempt.is_running:
                self._observer.abandoned(attempt.job)

    def _draw_wait(self, pace: str) -> float:
        is_pause = pace == "stutter" and self._random.random() < PAUSE_SHARE
        return self._random.uniform(*(PAUSE_SECONDS if is_pause else PACES[pace]))

    async def _publish(self, job: Job, last: int) -> None:
        steps = range(job.step, last + 1)
        batch = [_event(job, step, channel) for step in steps for channel in job.channels]
        for event in batch:
            self._application.setdefault(event.channel, {})[job.key] = last
        while True:
            try:
                await self._broadcaster.publish_many(batch)
            except Exception:
                await asyncio.sleep(self._random.uniform(*RETRY_SECONDS))
                continue
            self._report(batch, is_terminal=last == job.steps)
            return


def _event(job: Job, step: int, channel: str) -> Event:
    done = step == job.steps
    return create_event(
        channel,
        "job.completed" if done else "job.progress",
        step,
        f"{job.key}-{step}-{channel}",
        job.key,
        None if done else job.source,
    )
