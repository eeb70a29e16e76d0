"""Size and shape of a simulated deployment."""

from collections.abc import Callable
from dataclasses import dataclass, field

from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.client.commands import Options as ClientOptions
from realtime_bridge.testing.simulation.handlers import Handler, JobBoard


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Parts of a simulation; the seed draws each value that is None.

    Args:
        clients: the number of clients.
        channels: the channels that every client subscribes to.
        jobs: the number of jobs that workers publish.
        nodes: the number of server processes.
        hosted: whether a provider delivers at the start.
        memory: whether a restart of a server loses the log.
        max_age: the age at which clients replace a socket, in milliseconds.
        client: the options of every client.
        retention: the limits of the log.
        handler: the factory for each client's application.

    """

    clients: int | None = None
    channels: tuple[str, ...] = ("job.1", "job.2")
    jobs: int | None = None
    nodes: int | None = None
    hosted: bool | None = None
    memory: bool | None = None
    max_age: int | None = None
    client: ClientOptions = field(default_factory=ClientOptions)
    retention: Retention | None = None
    handler: Callable[[], Handler] = JobBoard
