"""Size and shape of a simulated deployment."""

from collections.abc import Callable
from dataclasses import dataclass, field

from realtime_bridge.client.transport_manager import TransportName
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.client.commands import Options as ClientOptions
from realtime_bridge.testing.simulation.handlers import Handler, JobBoard


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Parts of a simulation; the seed draws each value that is None.

    Args:
        clients: the number of clients.
        channels: the number of channels that every client subscribes to.
        jobs: the number of jobs that workers publish.
        streams: the number of streams that workers write.
        tasks: the number of tasks, whose jobs people cancel and answer.
        members: the number of programs that are present on a channel.
        nodes: the number of server processes.
        memory: whether a restart of a server loses the log.
        transport: the transport that all clients use.
        checks_readiness: whether the load balancer checks readiness.
        unsent_bytes: the bytes that may wait for a client before it counts as slow.
        answer_delay: the seconds by which the log answers servers later than it announces.
        client: the options of every client.
        retention: the limits of the log.
        handler: the factory for each client's application.
        skipped: numbers of invariants that are not checked, such as `I17`.
        omitted: kinds of faults that are not drawn.

    """

    clients: int | None = None
    channels: int | None = None
    jobs: int | None = None
    streams: int | None = None
    tasks: int | None = None
    members: int | None = None
    nodes: int | None = None
    memory: bool | None = None
    transport: TransportName | None = None
    checks_readiness: bool | None = None
    unsent_bytes: int | None = None
    answer_delay: float | None = None
    client: ClientOptions = field(default_factory=ClientOptions)
    retention: Retention | None = None
    handler: Callable[[], Handler] = JobBoard
    skipped: frozenset[str] = frozenset()
    omitted: frozenset[str] = frozenset()
