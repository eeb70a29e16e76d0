"""Interface of a simulation for its parts."""

from functools import cache
from typing import Any, Protocol

from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge.testing.simulation.faults import Fault
from realtime_bridge.testing.simulation.options import Options
from realtime_bridge.testing.simulation.virtual_loop import VirtualLoop

PREFIX = "simulation"
URL = "http://simulation/realtime"
SECRET = "secret of the simulation of at least 32 bytes"  # noqa: S105 -- nothing is protected by it
NEW_SECRET = "another secret of at least 32 bytes for it"  # noqa: S105


class Deployment(Protocol):
    """Simulation, as its clients see it."""

    loop: VirtualLoop
    options: Options
    application: dict[str, dict[str, Any]]
    """The application's own state: the step of each job, by channel."""
    is_memory: bool
    configuration: int
    """Number of the last configuration; servers start with it one after another."""
    secret: str
    """Secrets of the application: the first signs the tokens of its users."""
    checker: Any
    faults: list[Fault]
    store: Any
    workers: list[Any]
    nodes: list[Any]
    pages: list[Any]

    def extend(self, seconds: float) -> None:
        """Put the end of the run off, until so many seconds from now at least."""

    def streams_of(self, channel: str) -> list[str]:
        """Return the ids of the streams that pages of a channel show."""

    def tasks_of(self, channel: str) -> list[Any]:
        """Return the tasks whose jobs pages of a channel show."""

    def log_line(self, who: str, what: str) -> None:
        """Add a line to the trace."""


def token_of(secret: str, user: str) -> str:
    """Return a fresh token of a user, as the application issues it."""
    return _tokens(secret).issue(user)


@cache
def _tokens(secret: str) -> Tokens:
    return Tokens(secret, issuer=PREFIX)
