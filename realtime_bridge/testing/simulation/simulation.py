"""Deployment in virtual time: clients, servers, a log, workers and faults."""

import heapq
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.model.retention import Retention
from realtime_bridge.testing.simulation.client import Client
from realtime_bridge.testing.simulation.fault_effects import FaultEffects
from realtime_bridge.testing.simulation.faults import Fault, draw_faults
from realtime_bridge.testing.simulation.invariant_checker import InvariantChecker
from realtime_bridge.testing.simulation.log import SimulatedLog
from realtime_bridge.testing.simulation.network import Network
from realtime_bridge.testing.simulation.options import Options
from realtime_bridge.testing.simulation.server import Servers
from realtime_bridge.testing.simulation.worker import Worker

SPAN_MS = 45_000
"""Period in which faults begin and jobs start."""

RECOVERY_MS = 30_000
"""Time after the last fault in which the deployment recovers, before the final check."""


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
        self.now: int = 0
        self.tracing: bool = trace is not None
        self.options: Options = options or Options()
        self.random: Random = Random(f"{seed} run")  # noqa: S311 -- repeatable draws, no secrets
        # A source of its own: the deployment and the faults stay the same when the run
        # draws more or less.
        draw = Random(f"{seed} scene")  # noqa: S311
        parameters = self._draw_parameters(draw)
        self.faults: list[Fault] = (
            draw_faults(draw, clients=parameters["clients"], span=SPAN_MS)
            if faults is None
            else sorted(faults)
        )
        self.hosted: bool = parameters["hosted"]
        self.jobs: int = parameters["jobs"]
        self.memory: bool = parameters["memory"]
        self.max_age: int | None = parameters["max_age"]
        self.application: dict[str, dict[str, Any]] = {}
        self.log: SimulatedLog = SimulatedLog(
            self.random, lambda: self.now, parameters["retention"]
        )
        self.network: Network = Network(self)
        self.servers: Servers = Servers(
            self, nodes=parameters["nodes"], clients=parameters["clients"]
        )
        self.checker: InvariantChecker = InvariantChecker(self)
        self.clients: list[Client] = [
            Client(self, number, self.options.channels) for number in range(parameters["clients"])
        ]
        self._trace = trace
        self._calls: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._call_number = 0
        self._active_faults: list[Fault] = []
        self._fault_effects = FaultEffects(self)
        self._end = SPAN_MS
        self._begin()

    @property
    def uses_provider(self) -> bool:
        """True if a provider delivers at any time of the run."""
        return self.hosted or any(fault.kind == "generation" for fault in self.faults)

    def run(self) -> None:
        """Run to the end.

        Raises:
            InvariantViolation: an invariant does not hold.

        """
        while self._calls:
            at, _, call, args = heapq.heappop(self._calls)
            if at > self._end:
                break
            self.now = at
            call(*args)
        self.now = self._end
        self.checker.check_final_state()

    def call_at(self, when: int, call: Callable[..., None], *args: Any) -> None:
        """Schedule a call for a time in milliseconds."""
        # The number keeps the order of calls at the same time, and makes the entries comparable.
        self._call_number += 1
        heapq.heappush(self._calls, (max(when, self.now), self._call_number, call, args))

    def call_later(self, wait: int, call: Callable[..., None], *args: Any) -> None:
        """Schedule a call after a wait in milliseconds."""
        self.call_at(self.now + wait, call, *args)

    def has_fault(self, kind: str, client: int | None) -> bool:
        """Return whether a fault of this kind affects the client now."""
        return any(
            fault.kind == kind and (client is None or fault.affects(client))
            for fault in self._active_faults
        )

    def record_publish(self, event: Event, *, terminal: bool) -> None:
        """Record an acknowledged publish, and schedule the check of a terminal state."""
        for client in self.clients:
            deadline = self.checker.deadline(client, self.now)
            self._end = max(self._end, deadline + 1)
            if terminal:
                self.call_at(deadline, self.checker.check_shown, client, event)

    def log_line(self, line: str) -> None:
        """Add a line to the trace."""
        if self._trace:
            self._trace(f"{self.now / 1_000:8.3f}  {line}")

    def _draw_parameters(self, draw: Random) -> dict[str, Any]:
        options = self.options
        parameters: dict[str, Any] = {
            "clients": draw.choice((1, 2, 3, 4)),
            "jobs": draw.choice((2, 5, 10)),
            "nodes": draw.choice((1, 2)),
            "hosted": draw.choice((False, False, False, True)),
            "memory": draw.choice((False, True)),
            "max_age": draw.choice((None, None, None, 15_000)),
            "retention": Retention(events=draw.choice((2, 1_000, 1_000))),
        }
        fixed = {name: getattr(options, name) for name in parameters}
        return parameters | {name: value for name, value in fixed.items() if value is not None}

    def _begin(self) -> None:
        for fault in self.faults:
            self.call_at(fault.at, self._start_fault, fault)
            self._end = max(self._end, fault.end + RECOVERY_MS)
        for client in self.clients:
            self.call_at(self.random.randrange(2_000), client.apply_input, "start")
        for number in range(self.jobs):
            Worker(self, number).start_job(self.random.randrange(SPAN_MS))

    def _start_fault(self, fault: Fault) -> None:
        self.log_line(f"--- {fault}")
        self._active_faults.append(fault)
        self._fault_effects.begin(fault)
        self.call_later(fault.duration, self._end_fault, fault)

    def _end_fault(self, fault: Fault) -> None:
        if fault.duration:
            self.log_line(f"--- end of {fault.kind}")
        self._active_faults.remove(fault)
        self._fault_effects.end(fault)
