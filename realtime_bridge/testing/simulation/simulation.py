"""A whole deployment in virtual time: clients, servers, a log, workers, and what goes wrong."""

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
"""Within so long faults begin, and jobs are started."""

WORST_MS = 30_000
"""So much longer than the last promise a simulation runs."""


class Simulation:
    """One run: the same seed, options and faults give the same story.

    Args:
        seed: what chance begins with.
        faults: what goes wrong; drawn when None.
        options: what there is.
        tell: called with each line of the story.

    """

    def __init__(
        self,
        seed: int,
        *,
        faults: Sequence[Fault] | None = None,
        options: Options | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.seed, self.now, self.telling = seed, 0, tell is not None
        self.options = options or Options()
        self.random = Random(f"{seed} run")  # noqa: S311 -- chance, not secrecy
        draw = Random(f"{seed} scene")  # noqa: S311
        chosen = self._choose(draw)
        drawn = draw_faults(draw, clients=chosen["clients"], span=SPAN_MS)
        self.faults = drawn if faults is None else sorted(faults)
        self.hosted: bool = chosen["hosted"]
        self.jobs: int = chosen["jobs"]
        self.memory: bool = chosen["memory"]
        self.max_age: int | None = chosen["max_age"]
        self.application: dict[str, dict[str, Any]] = {}
        self.log = SimulatedLog(self.random, lambda: self.now, chosen["retention"])
        self.network = Network(self)
        self.servers = Servers(self, nodes=chosen["nodes"], clients=chosen["clients"])
        self.checker = InvariantChecker(self)
        self.clients = [
            Client(self, number, self.options.channels) for number in range(chosen["clients"])
        ]
        self._tell = tell
        self._turns: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._turn = 0
        self._active: list[Fault] = []
        self._fault_effects = FaultEffects(self)
        self._end = SPAN_MS
        self._begin()

    @property
    def ever_hosted(self) -> bool:
        """Whether a provider is used at any time."""
        return self.hosted or any(fault.kind == "generation" for fault in self.faults)

    def run(self) -> None:
        """Let everything happen.

        Raises:
            Violation: a promise was broken.

        """
        while self._turns:
            at, _, call, args = heapq.heappop(self._turns)
            if at > self._end:
                break
            self.now = at
            call(*args)
        self.now = self._end
        self.checker.settled()

    def at(self, when: int, call: Callable[..., None], *args: Any) -> None:
        """Have something happen at a time."""
        self._turn += 1
        heapq.heappush(self._turns, (max(when, self.now), self._turn, call, args))

    def after(self, wait: int, call: Callable[..., None], *args: Any) -> None:
        """Have something happen later."""
        self.at(self.now + wait, call, *args)

    def faulty(self, kind: str, client: int | None) -> bool:
        """Tell whether this goes wrong now for the client."""
        return any(
            fault.kind == kind and (client is None or fault.hits(client)) for fault in self._active
        )

    def acknowledged(self, event: Event, *, terminal: bool) -> None:
        """Note that a worker was told yes; a terminal state has to be shown in time."""
        for client in self.clients:
            due = self.checker.due(client, self.now)
            self._end = max(self._end, due + 1)
            if terminal:
                self.at(due, self.checker.shown, client, event)

    def tell(self, line: str) -> None:
        """Tell a line of the story."""
        if self._tell:
            self._tell(f"{self.now / 1_000:8.3f}  {line}")

    def _choose(self, draw: Random) -> dict[str, Any]:
        options = self.options
        drawn: dict[str, Any] = {
            "clients": draw.choice((1, 2, 3, 4)),
            "jobs": draw.choice((2, 5, 10)),
            "nodes": draw.choice((1, 2)),
            "hosted": draw.choice((False, False, False, True)),
            "memory": draw.choice((False, True)),
            "max_age": draw.choice((None, None, None, 15_000)),
            "retention": Retention(events=draw.choice((2, 1_000, 1_000))),
        }
        given = {name: getattr(options, name) for name in drawn}
        return drawn | {name: value for name, value in given.items() if value is not None}

    def _begin(self) -> None:
        for fault in self.faults:
            self.at(fault.at, self._start_fault, fault)
            self._end = max(self._end, fault.end + WORST_MS)
        for client in self.clients:
            self.at(self.random.randrange(2_000), client.give, "start")
        for number in range(self.jobs):
            Worker(self, number).start_job(self.random.randrange(SPAN_MS))

    def _start_fault(self, fault: Fault) -> None:
        self.tell(f"--- {fault}")
        self._active.append(fault)
        self._fault_effects.begin(fault)
        self.after(fault.lasts, self._end_fault, fault)

    def _end_fault(self, fault: Fault) -> None:
        if fault.lasts:
            self.tell(f"--- over: {fault.kind}")
        self._active.remove(fault)
        self._fault_effects.end(fault)
