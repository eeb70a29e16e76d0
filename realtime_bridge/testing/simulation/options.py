"""Size and shape of a simulated deployment."""

from collections.abc import Callable
from dataclasses import dataclass, field

from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.client.commands import Options as ClientOptions
from realtime_bridge.testing.simulation.handlers import Handler, JobBoard


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a simulation consists of; what is None is drawn by the seed."""

    clients: int | None = None
    channels: tuple[str, ...] = ("job.1", "job.2")
    jobs: int | None = None
    nodes: int | None = None
    hosted: bool | None = None
    memory: bool | None = None
    """Whether the log is lost when a server restarts."""
    max_age: int | None = None
    client: ClientOptions = field(default_factory=ClientOptions)
    retention: Retention | None = None
    handler: Callable[[], Handler] = JobBoard
