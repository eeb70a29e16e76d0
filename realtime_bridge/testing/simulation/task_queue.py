"""Task queue of a simulation, and the people who cancel its tasks and answer their questions."""

from random import Random
from typing import Any

from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.event import create_event
from realtime_bridge.publishing.broadcaster import Broadcaster
from realtime_bridge.testing.simulation.deployment import Deployment
from realtime_bridge.testing.simulation.log_link import SimulatedLog
from realtime_bridge.testing.simulation.node import Node
from realtime_bridge.testing.simulation.shape import WIDE
from realtime_bridge.testing.simulation.stream_queue import LAPSE_SECONDS, draw_begin
from realtime_bridge.testing.simulation.task_job import Task, TaskAttempt

REDELIVERY_SECONDS = (None, None, 0.1, 6.0, 20.0)
"""Seconds until a lost task is given to another worker."""

LATE_SECONDS = 6.0
"""Longest time by which `job.queued` comes late."""

ANSWER_SPREAD = 0.2
"""Longest time between two answers, and between the last step and a request to cancel."""


class TaskQueue:
    """Tasks of one run.

    Args:
        simulation: the deployment.
        random: draws the tasks.

    """

    def __init__(self, simulation: Deployment, random: Random) -> None:
        self._simulation = simulation
        self._random = random
        self._tasks: list[Task] = []

    def tasks_of(self, channel: str) -> list[Task]:
        """Return the tasks of a channel."""
        return [task for task in self._tasks if task.channel == channel]

    def start(self, number: int, seconds: float) -> None:
        """Draw tasks, which begin within so many seconds."""
        draw, loop = self._random, self._simulation.loop
        channels = self._simulation.pages[0].channels
        for count in range(0 if len(channels) == WIDE else number):
            steps = draw.randint(2, 8)
            task = Task(
                channel=draw.choice(channels),
                id=f"task{count}",
                steps=steps,
                lease=draw.choice((12.0, 30.0)),
                asks_after=draw.choice((None, draw.randrange(steps))),
                redelivery=draw.choice(REDELIVERY_SECONDS),
                cancel=draw.choice(("never", "never", "midway", "at the end")),
                pace=draw.choice(("quick", "quick", "quick", "slow")),
            )
            self._tasks.append(task)
            begin = draw_begin(self._simulation, draw, seconds)
            loop.call_later(begin, self._deliver, task)
            queued_at = max(0.0, begin + draw.uniform(-1.0, LATE_SECONDS))
            loop.call_later(queued_at, self._on_a_node, self._queue, task)
            if task.cancel == "midway":
                loop.call_later(begin + draw.uniform(0, 10), self._cancel_soon, task)

    def begun_task(self, attempt: TaskAttempt) -> None:
        """Observe the begin of a run."""
        self._simulation.checker.tasks.attempts[attempt.run.attempt] = attempt
        self.log_line("task", f"{attempt.job.id} begins as {attempt.run.attempt}")

    def asking(self, attempt: TaskAttempt, question: str) -> None:
        """Answer a question, twice and differently; sometimes too late."""
        delay = self._random.uniform(0, self._random.choice((2, 8, 25)))
        for value in ("yes", "no"):
            later = delay + self._random.uniform(0, ANSWER_SPREAD)
            arguments = self._answer, attempt.job, question, value
            self._simulation.loop.call_later(later, self._on_a_node, *arguments)

    def answered(self, attempt: TaskAttempt, question: str, value: Any) -> None:
        """Check the answer that the application receives."""
        self.log_line("task", f"{attempt.job.id} got {value} for {question}")
        self._simulation.checker.tasks.check_answer(attempt, question, value)

    def finishing_task(self, attempt: TaskAttempt) -> None:
        """Cancel a task while it ends, if that was drawn."""
        if attempt.job.cancel == "at the end":
            self._cancel_soon(attempt.job)

    def abandoned_task(self, task: Task) -> None:
        """Give the task of a lost worker to another one, if that was drawn."""
        self._simulation.extend(LAPSE_SECONDS)
        if task.redelivery is not None:
            self._simulation.loop.call_later(task.redelivery, self._deliver, task)

    def log_line(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        self._simulation.log_line(who, what)

    def _deliver(self, task: Task) -> None:
        running = [worker for worker in self._simulation.workers if not worker.is_frozen]
        if running and not self._simulation.loop.is_stopping:
            self._random.choice(running).start_task(task)

    def _cancel_soon(self, task: Task) -> None:
        """Let two people cancel a task."""
        for _ in range(2):
            delay = self._random.uniform(0, ANSWER_SPREAD)
            self._simulation.loop.call_later(delay, self._on_a_node, self._cancel, task)

    def _on_a_node(self, act: Any, *arguments: Any) -> None:
        running = [node for node in self._simulation.nodes if node.is_up]
        if running and not self._simulation.loop.is_stopping:
            node = self._random.choice(running)
            node.spawn(self._act(node, act, *arguments))

    async def _act(self, node: Node, act: Any, *arguments: Any) -> None:
        try:
            await act(node, *arguments)
        except (RealtimeError, RuntimeError) as error:
            self.log_line("task", f"a request failed: {error}")

    async def _queue(self, node: Node, task: Task) -> None:
        data = {"job": task.id, "title": task.id, "state": "queued", "cancellable": True}
        event = create_event(task.channel, "job.queued", data, f"queued-{task.id}", task.key, None)
        await Broadcaster(log=SimulatedLog(node.log)).publish_many([event])

    async def _cancel(self, node: Node, task: Task) -> None:
        reply = await node.bridge.cancel_job(task.channel, task.id, by="a person")
        self.log_line("task", f"cancellation of {task.id}: {reply.code}")
        if reply.code == "cancelling":
            self._simulation.checker.tasks.check_reply(task.key, None)

    async def _answer(self, node: Node, task: Task, question: str, value: str) -> None:
        reply = await node.bridge.answer_job(task.channel, task.id, question, value)
        self.log_line("task", f"{value} for {question}: {reply.code}")
        if reply.accepted:
            self._simulation.checker.tasks.check_reply(task.key, question, value)
