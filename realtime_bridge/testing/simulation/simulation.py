"""Deployment in virtual time: the real servers, clients and publishers, and faults."""

import time
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.publishing.pipeline import PublishPipeline
from realtime_bridge.server.bridge import Bridge
from realtime_bridge.settings import Settings
from realtime_bridge.testing.simulation.balancer import Balancer
from realtime_bridge.testing.simulation.client_network import ClientNetwork
from realtime_bridge.testing.simulation.deployment import PREFIX, SECRET
from realtime_bridge.testing.simulation.determinism import deterministic
from realtime_bridge.testing.simulation.fault_effects import FaultEffects
from realtime_bridge.testing.simulation.faults import Fault, draw_faults, draw_secret_faults
from realtime_bridge.testing.simulation.invariants import InvariantChecker
from realtime_bridge.testing.simulation.log_link import LogConnection, SimulatedLog
from realtime_bridge.testing.simulation.log_store import FullPosition, LogStore, Witness
from realtime_bridge.testing.simulation.members import Members, draw_members
from realtime_bridge.testing.simulation.network import Link
from realtime_bridge.testing.simulation.node import Node
from realtime_bridge.testing.simulation.options import Options
from realtime_bridge.testing.simulation.page import Page
from realtime_bridge.testing.simulation.shape import SMALL_BUFFER, WIDE, Shape
from realtime_bridge.testing.simulation.stories import PACES
from realtime_bridge.testing.simulation.stream_checker import StreamChecker
from realtime_bridge.testing.simulation.stream_queue import StreamQueue
from realtime_bridge.testing.simulation.task_checker import TaskChecker
from realtime_bridge.testing.simulation.task_job import Task
from realtime_bridge.testing.simulation.task_queue import TaskQueue
from realtime_bridge.testing.simulation.trace import trace_logs
from realtime_bridge.testing.simulation.violations import Violations
from realtime_bridge.testing.simulation.virtual_loop import START, VirtualLoop
from realtime_bridge.testing.simulation.wire_checker import WireChecker
from realtime_bridge.testing.simulation.worker import Job, Worker

SPAN_MS = 40_000
"""Period in which faults begin and jobs start."""

RECOVERY_MS = 30_000
"""Time after the last fault in which the deployment recovers, before the final check."""

STOP_SECONDS = 60.0
"""Time for all tasks to end after the final check."""

WORKERS = 2
"""Processes that publish: one of them does not know what the log lost of another's events."""

NEAR_SHARE, NEAR_SECONDS = 0.4, 1.5
"""Share of jobs that start before a fault, and the seconds before it at most."""

STORY_NEAR_SHARE, STORY_NEAR_SECONDS = 0.9, 8.0
"""The same in a story: its faults have to meet jobs that run."""

ROTATION_SECONDS = 15.0
"""Time after a new epoch in which nodes compare positions (§2.4) and clients get their resets."""

CONTACT_SECONDS = 1.0
"""Interval at which the contact of clients is checked."""


class Simulation:
    """Run of one seed; the same seed, options and faults give the same trace.

    Args:
        seed: the seed of every draw.
        faults: the faults; None draws them from the seed.
        options: the size and shape of the deployment.
        trace: the function that receives each line of the trace.

    """

    def __init__(
        self,
        seed: int,
        *,
        faults: Sequence[Fault] | None = None,
        options: Options | None = None,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.seed: int = seed
        self.options: Options = options or Options()
        # The parts of a loop that need sockets are missing.
        self.loop: VirtualLoop = VirtualLoop()  # type: ignore[abstract]
        self.application: dict[str, dict[str, Any]] = {}
        # A source of its own: the deployment and the faults stay the same when the run
        # draws more or less.
        draw = Random(f"{seed} shape")  # noqa: S311 -- repeatable draws, no secrets
        self.shape: Shape = Shape.draw(draw, self.options)
        self.faults: list[Fault] = self._draw_faults(draw) if faults is None else sorted(faults)
        # A source of its own, as for secrets.
        self._members_random = Random(f"{seed} members")  # noqa: S311
        drawn = 0 if self.shape.story else draw_members(self._members_random)
        self.members: int = drawn if self.options.members is None else self.options.members
        """Number of programs that are present on a channel."""
        self.is_memory: bool = self.shape.memory
        self.configuration: int = 0
        self.secret: str = SECRET
        self._random = Random(f"{seed} run")  # noqa: S311
        self._trace = trace
        self._end = SPAN_MS
        self.store: LogStore
        self.nodes: list[Node] = []
        self.pages: list[Page] = []
        self.workers: list[Worker] = []
        self.checker: InvariantChecker
        self._queue: StreamQueue
        self._tasks: TaskQueue
        self._members: Members

    def run(self) -> None:
        """Run to the end.

        Raises:
            InvariantViolation: an invariant does not hold.
            BusyLoopError: the code runs without end while no time passes.

        """
        with trace_logs(self._trace and self.log_line), deterministic(self.loop, self.seed):
            try:
                self._build()
                self._begin()
                self._run_until_end()
                self.checker.check_final_state()
                self._members.check_final_state()
            finally:
                self._stop()

    def streams_of(self, channel: str) -> list[str]:
        """Return the ids of the streams that pages of a channel show."""
        return self._queue.streams_of(channel)

    def tasks_of(self, channel: str) -> list[Task]:
        """Return the tasks whose jobs pages of a channel show."""
        return self._tasks.tasks_of(channel)

    def extend(self, seconds: float) -> None:
        """Put the end of the run off, until so many seconds from now at least."""
        self._end = max(self._end, self.checker.now_ms + round(seconds * 1_000))

    def log_line(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        if self._trace:
            self._trace(f"{self.loop.now - START:8.3f}  {who:9} {what}")

    def _draw_faults(self, draw: Random) -> list[Fault]:
        shape = self.shape
        size = {"clients": shape.clients, "nodes": shape.nodes, "span": SPAN_MS}
        if shape.story:
            faults = shape.story.draw_faults(draw, **size)
        else:
            faults = draw_faults(draw, **size, has_work=bool(shape.streams + shape.tasks))
            # A source of its own: the seeds without such a fault stay as they were before it.
            source = Random(f"{self.seed} secret")  # noqa: S311
            faults = sorted(faults + draw_secret_faults(source, **size))
        return [fault for fault in faults if fault.kind not in self.options.omitted]

    def _build(self) -> None:
        shape, random, loop = self.shape, self._random, self.loop
        self.store = LogStore(time.monotonic, time.time, shape.retention)
        self.store.witnesses.append(_RotationWitness(self))
        for number in range(shape.nodes):
            delays = (0.0005, 0.01, 0.1)
            delay = 0.0 if shape.memory else random.choice(delays)
            log = LogConnection(
                loop,
                random,
                self.store,
                Link(loop, random, delay=delay),
                answer_delay=shape.answer_delay,
            )
            self.nodes.append(
                Node(
                    loop,
                    number,
                    self._create_bridge,
                    log=log,
                    is_fast=random.choice((True, False)),
                    clock_offset=random.uniform(-2.0, 2.0),
                )
            )
        balancer = Balancer(random, self.nodes, checks_readiness=shape.checks_readiness)
        channels = tuple(f"job.{number}" for number in range(shape.channels))
        for number in range(shape.clients):
            link = Link(loop, random, delay=random.choice((0.001, 0.02, 0.1)))
            network = ClientNetwork(loop, number, link, balancer)
            page = Page(self, number, channels, shape.transport, network)
            self.pages.append(page)
        violations = Violations(loop, self.options.skipped)
        streams = StreamChecker(loop, self.store, violations)
        self.checker = InvariantChecker(
            loop,
            self.store,
            self.options,
            violations,
            self.faults,
            self.pages,
            streams=streams,
            tasks=TaskChecker(loop, self.store, violations, self.faults),
            has_room=shape.unsent_bytes > SMALL_BUFFER,
        )
        source = self._members_random
        self._members = Members(self, source, violations, balancer, self.members)
        self._queue = StreamQueue(self, Random(f"{self.seed} streams"))  # noqa: S311
        self._tasks = TaskQueue(self, Random(f"{self.seed} tasks"))  # noqa: S311
        for page in self.pages:
            page.network.observer = WireChecker(page, self.store, self.checker)
        for number in range(WORKERS):
            log = LogConnection(loop, random, self.store, Link(loop, random, delay=0.002))
            observers = self._on_published, self._queue, self._tasks
            self.workers.append(Worker(loop, number, random, log, self.application, *observers))

    def _create_bridge(self, node: Node) -> Bridge:
        pipeline = PublishPipeline(log=SimulatedLog(node.log), backend=None)
        settings = _settings(self.shape.unsent_bytes, node.configuration, node.secret)
        bridge = Bridge(settings, pipeline=pipeline)
        bridge.channel("job.{id}")(_allow)
        return bridge

    def _begin(self) -> None:
        loop, effects = self.loop, FaultEffects(self)
        for node in self.nodes:
            node.start()
        for page in self.pages:
            loop.call_later(self._random.uniform(0, 2), page.start)
        for fault in self.faults:
            loop.call_at(START + fault.at / 1_000, self._start_fault, fault, effects)
            self._end = max(self._end, fault.end + RECOVERY_MS)
        for number in range(self.shape.jobs):
            loop.call_later(self._draw_job_start(), self._start_job, number)
        self._queue.start(self.shape.streams, SPAN_MS / 1_000)
        self._tasks.start(self.shape.tasks, SPAN_MS / 1_000)
        self._members.start(SPAN_MS / 1_000)
        loop.call_later(CONTACT_SECONDS, self._check_contact)

    def _run_until_end(self) -> None:
        # A publish may put the end off: a terminal state has to be shown before.
        while self.loop.now < START + self._end / 1_000:
            self.loop.run_until_time(START + self._end / 1_000)

    def _draw_job_start(self) -> float:
        """Draw the second at which a job starts: often shortly before a fault."""
        is_story = self.shape.story is not None
        share = STORY_NEAR_SHARE if is_story else NEAR_SHARE
        if self.faults and self._random.random() < share:
            fault = self._random.choice(self.faults)
            seconds = STORY_NEAR_SECONDS if is_story else NEAR_SECONDS
            return max(0.0, fault.at / 1_000 - self._random.uniform(0, seconds))
        return self._random.uniform(0, SPAN_MS / 1_000)

    def _start_job(self, number: int) -> None:
        random, channels = self._random, self.pages[0].channels
        is_wide = len(channels) == WIDE
        page = random.choice(self.pages)
        own = page.client_ids[-1] if page.client_ids and random.random() < 0.2 else None  # noqa: PLR2004
        random.choice(self.workers).start_job(
            Job(
                channels=channels if is_wide else (random.choice(channels),),
                key=f"job-{number}",
                steps=random.randint(1, 4 if is_wide else 10),
                source=own,
                pace=random.choice(self.shape.story.paces if self.shape.story else PACES),
                steps_at_once=random.choice((1, 1, 1, 3)),
            )
        )

    def _on_published(self, batch: Sequence[Event], *, is_terminal: bool) -> None:
        now = self.checker.now_ms
        self.log_line(
            "worker",
            f"published {batch[0].id}" + (f" and {len(batch) - 1} more" if batch[1:] else ""),
        )
        for page in self.pages if is_terminal else ():
            deadline = self.checker.deadline(page, now)
            self._end = max(self._end, deadline + 1)
            for event in batch:
                moment = START + deadline / 1_000
                self.loop.call_at(moment, self.checker.check_shown, page, event)

    def _start_fault(self, fault: Fault, effects: FaultEffects) -> None:
        self.log_line("fault", str(fault))
        effects.begin(fault)
        if fault.duration:
            self.loop.call_later(fault.duration / 1_000, self._end_fault, fault, effects)

    def _end_fault(self, fault: Fault, effects: FaultEffects) -> None:
        if self.loop.is_stopping:
            return
        self.log_line("fault", f"end of {fault.kind}")
        effects.end(fault)

    def _check_contact(self) -> None:
        if self.loop.is_stopping:
            return
        for page in self.pages:
            self.checker.check_contact(page)
            self.checker.check_way(page)
        self.loop.call_later(CONTACT_SECONDS, self._check_contact)

    def _stop(self) -> None:
        """End all tasks, so that nothing of this run is left for the next."""
        for page in self.pages:
            page.stop()
        self._members.stop()
        for node in self.nodes:
            node.kill()
        for worker in self.workers:
            worker.stop()
        self.loop.failure = None
        self.loop.is_stopping = True
        self.loop.run_until_time(self.loop.now + STOP_SECONDS)
        self.loop.close()
        # The collection after the run finds what nothing refers to: a long search would grow.
        for parts in (self.nodes, self.pages, self.workers):
            parts.clear()
        for name in ("store", "checker", "_queue", "_tasks", "_members"):
            vars(self).pop(name, None)


class _RotationWitness(Witness):
    """Keeps a run going after a new epoch, until every client has its reset.

    A worker that finds a rollback by its next publish may do so long after all faults.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def moved(self, before: FullPosition, after: FullPosition) -> None:  # noqa: ARG002
        self._simulation.extend(ROTATION_SECONDS)


@cache
def _settings(unsent_bytes: int, configuration: int, secret: str) -> Settings:
    return Settings(
        prefix=PREFIX,
        secret=secret,
        limit_unsent_bytes=unsent_bytes,
        grace_seconds=6,
        log=("auto", "memory")[configuration % 2],  # any change raises the generation
    )


async def _allow(user: str, id: str) -> bool:  # noqa: A002, ARG001 -- the rule's holes
    return True
