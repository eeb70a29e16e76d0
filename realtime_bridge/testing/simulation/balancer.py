"""Load balancer of a simulation: it chooses the server of each request and connection."""

from random import Random

from realtime_bridge.testing.simulation.node import Node

CHECK_SECONDS = 2.0
"""Interval of the readiness checks."""


class Balancer:
    """Choice of a server, with or without a readiness check.

    Args:
        random: chooses.
        nodes: the servers.
        checks_readiness: whether only servers are chosen that answered `health/ready` with 200.

    """

    def __init__(self, random: Random, nodes: list[Node], *, checks_readiness: bool) -> None:
        self._random = random
        self._nodes = nodes
        self._checks_readiness = checks_readiness
        self._checked_at = float("-inf")

    def pick(self) -> Node | None:
        """Return the server of a new connection; None where none accepts it."""
        nodes = self._nodes
        if self._checks_readiness:
            self._check()
            nodes = [node for node in nodes if node.is_ready]
        node = self._random.choice(nodes) if nodes else None
        # Without a check a stopped server is chosen too: its connections are refused.
        return node if node and node.is_up else None

    def _check(self) -> None:
        now = self._nodes[0].loop.now
        if now - self._checked_at >= CHECK_SECONDS:
            self._checked_at = now
            for node in self._nodes:
                node.check_readiness()
