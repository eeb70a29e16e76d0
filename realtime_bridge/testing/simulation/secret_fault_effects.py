"""Effects of the faults in which an operator changes the secret, as docs/deploy.md describes it."""

from collections.abc import Callable, Sequence
from functools import partial

from realtime_bridge.testing.simulation.deployment import NEW_SECRET, SECRET
from realtime_bridge.testing.simulation.faults import Fault
from realtime_bridge.testing.simulation.log_fault_effects import LogFaultEffects
from realtime_bridge.testing.simulation.node import Node

ROTATION = (f"{SECRET},{NEW_SECRET}", f"{NEW_SECRET},{SECRET}", NEW_SECRET)
"""Steps of a rotation: all programs take one before the first of them takes the next."""

STOLEN = (NEW_SECRET,)
"""The only step after a theft: every token of before is worth nothing."""

APPLICATION_FIRST = 0.5
"""Strength below which the application takes each step before the servers."""


class SecretFaultEffects(LogFaultEffects):
    """Steps of a change, which the programs take one after another until the fault's end."""

    def _begin_rotate_secret(self, fault: Fault) -> None:
        self._change(fault, ROTATION)

    def _end_rotate_secret(self, _: Fault) -> None:
        """Leave the new secret alone: the last step is taken before."""

    def _begin_replace_secret(self, fault: Fault) -> None:
        self._change(fault, STOLEN)

    def _end_replace_secret(self, _: Fault) -> None:
        """Leave the new secret."""

    def _change(self, fault: Fault, steps: Sequence[str]) -> None:
        nodes: list[Node] = self._simulation.nodes
        first = fault.target % len(nodes)
        programs: list[Callable[[str], None]]
        programs = [partial(self._restart, node) for node in (*nodes[first:], *nodes[:first])]
        place = 0 if fault.strength < APPLICATION_FIRST else len(programs)
        programs.insert(place, self._issue_with)
        wait = fault.duration / 1_000 / (len(steps) * len(programs))
        changes = [partial(program, secret) for secret in steps for program in programs]
        for number, change in enumerate(changes):
            self._simulation.loop.call_later(number * wait, change)

    def _restart(self, node: Node, secret: str) -> None:
        self._use(secret)
        node.secret = secret
        if node.is_running:
            self._kill(node)
            node.start()

    def _issue_with(self, secret: str) -> None:
        self._use(secret)
        self._simulation.secret = secret

    def _use(self, secret: str) -> None:
        if secret == NEW_SECRET:
            self._simulation.checker.is_secret_dropped = True
