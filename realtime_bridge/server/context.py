"""Parts of one run of a server, for the routes and for the fast WebSocket."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from realtime_bridge.backend.feed import Feed
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.protocol.session.session_commands import ConnectionLimits
from realtime_bridge.server.auth.access import ChannelAccess
from realtime_bridge.server.auth.authenticator import Authenticator
from realtime_bridge.server.auth.channel_budget import ChannelBudget
from realtime_bridge.server.auth.operators import Operators
from realtime_bridge.server.auth.presence_info import PresenceInfo
from realtime_bridge.server.auth.signatures import Signatures
from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge.server.endpoints.metrics import Counts
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.fault_log import FaultLog
from realtime_bridge.server.http.request import ASGIApplication, HTTPError, Request
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.jobs import ServerJobs
from realtime_bridge.server.lifecycle.failover_follower import FailoverFollower
from realtime_bridge.server.lifecycle.file_watch import FileWatch
from realtime_bridge.server.lifecycle.hand_over import HandOver
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline
from realtime_bridge.server.lifecycle.revocation_follower import RevocationFollower
from realtime_bridge.server.lifecycle.status import ServerStatus
from realtime_bridge.server.lifecycle.worker_lock import has_sibling_workers
from realtime_bridge.server.lifecycle.worker_metrics import WorkerMetrics, can_exchange
from realtime_bridge.server.presence import Presence
from realtime_bridge.server.recent_warnings import RecentWarnings
from realtime_bridge.server.registry import ConnectionRegistry
from realtime_bridge.server.rejection_log import RejectionLog
from realtime_bridge.server.services import ConnectionServices
from realtime_bridge.server.statistics import ServerStatistics
from realtime_bridge.server.timer_wheel import TimerWheel
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge.settings import Settings

STATE = "realtime_bridge"
"""Key of the context in the lifespan state, where the fast WebSocket reads it."""


OpenFast = Callable[[asyncio.Transport, set[Any]], asyncio.Protocol]
"""Opens a connection on a transport, and adds it to uvicorn's connections."""

AnswerAtOnce = Callable[[Request, bytes], Response | None]
"""Returns the response to a request with its body, if that waits for nothing; else None."""

FastUpgrade = Callable[[str, Request], OpenFast | None]
"""Returns how to open the socket of a path, or None if the path is another's; it may raise
`HTTPError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    """Parts of one run of a server; a bridge that starts again makes them again.

    Args:
        settings: the configuration.
        pipeline: the log and the backend.
        authenticator: authenticates requests.
        tokens: issues the tokens of clients.
        signatures: checks the calls of workers.
        status: the status of this run.
        connections: the parts that the connections share.
        jobs: the requests to jobs.
        counts: the metrics of this run.
        worker_metrics: the metrics of the other workers, where there may be several.
        operators: decides who may open the dashboard.
        warnings: the last warnings of this process.
        application: the bridge as an ASGI application, by which the fast shell sees whether
            another application is around it.
        fast_upgrades: the sockets of other protocols than ours, for the fast WebSocket.
        fast_requests: answers to POST requests that often wait for nothing, by path.

    """

    settings: Settings
    pipeline: ServerPipeline
    authenticator: Authenticator
    tokens: Tokens
    signatures: Signatures
    status: ServerStatus
    connections: ConnectionServices
    jobs: ServerJobs
    counts: Counts
    worker_metrics: WorkerMetrics | None
    operators: Operators
    warnings: RecentWarnings
    application: ASGIApplication
    fast_upgrades: list[FastUpgrade] = field(default_factory=list)
    fast_requests: dict[str, AnswerAtOnce] = field(default_factory=dict)

    @property
    def hub(self) -> Hub:
        """The hub of this run."""
        return self.connections.hub

    @property
    def registry(self) -> ConnectionRegistry:
        """The connected clients."""
        return self.connections.registry

    @property
    def failing(self) -> list[str]:
        """Names of this run's background work that does not run now."""
        tasks = self.connections.tasks
        return self.hub.failing + (tasks.failing if tasks else [])

    def background_work(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """Return the work of a started server beside its hub, by name; none of it ends."""
        timing, failover = self.connections.timing, self.pipeline.failover
        retry, revocations = timing.restart, self.connections.access.revocations
        work = {"metrics of workers": self.worker_metrics.serve} if self.worker_metrics else {}
        return work | {
            "revocations": RevocationFollower(
                revocations, self.pipeline.log, self.hub, self.registry, retry=retry
            ).run,
            "delivery configuration": FailoverFollower(
                failover, self.hub, self.status, retry=retry, changed=self._on_generation
            ).run
            if failover
            else lambda: self.status.keep_generation(retry),
            "presence": self.connections.presence.run,
            "hand-over": HandOver(self.registry, self.status, timing).run,
            "file descriptors": FileWatch(interval=timing.file_check).run,
        }

    def _on_generation(self) -> None:
        """Send the clients the new generation soon, but not all of them at the same time."""
        self.registry.hasten_heartbeats(self.connections.timing.generation)

    def broadcast_status(self) -> None:
        """Send all clients the status; they poll while the log is down."""
        self.status.set_log_available(available=self.hub.healthy)
        self.registry.notify(self.status.message())

    def check_open(self, request: Request) -> None:
        """Check that connections of this client are accepted.

        Raises:
            HTTPError: 403, a client elsewhere of a development server; 503, the server did not
                start, drains, or was cut off from the log; 404, a hosted provider delivers and
                there is no log.

        """
        if self.authenticator.guard:
            self.authenticator.guard.check(request)
        if not self.status.is_started:
            self.status.check_started()
        if self.registry.draining:
            raise HTTPError(
                503, "draining", "This server stops: try again", headers={"retry-after": "1"}
            )
        if self.status.is_cut_off:
            raise HTTPError(
                503,
                "log_unavailable",
                "This server does not reach its log: try again, another one may answer",
                headers={"retry-after": "1"},
            )
        if not self.pipeline.has_log:
            raise HTTPError(
                404,
                "no_log",
                "Without a log this server pushes no events: use the provider in the descriptor",
            )


def build_context(
    settings: Settings,
    pipeline: ServerPipeline,
    authenticator: Authenticator,
    access: ChannelAccess,
    info: PresenceInfo,
    *,
    tokens: Tokens,
    signatures: Signatures,
    jobs: ServerJobs,
    operators: Operators,
    warnings: RecentWarnings,
    application: ASGIApplication,
    timing: ServerTiming,
    tasks: Supervisor | None,
    is_serverless: bool,
) -> ServerContext:
    """Return the parts of one run; the events and locks in them belong to one event loop."""

    def on_health_change() -> None:
        context.broadcast_status()

    log = pipeline.log
    assert isinstance(log, Feed)
    statistics = ServerStatistics()
    hub = Hub(log, log, on_change=on_health_change, timing=timing, statistics=statistics)
    status = ServerStatus(pipeline, hub.recovery.outage, is_serverless=is_serverless)
    connections = ConnectionServices(
        authenticator=authenticator,
        access=access,
        hub=hub,
        registry=ConnectionRegistry(settings.limit_connections_per_user),
        statistics=statistics,
        # All connections of a user may subscribe at once, and poll while they do.
        budget=ChannelBudget(
            2 * settings.limit_connections_per_user * settings.limit_channels_per_connection
        ),
        rejections=RejectionLog(),
        faults=FaultLog(),
        timers=TimerWheel(),
        presence=Presence(
            pipeline.log, info.of, tasks, timing, provider=lambda: pipeline.members_provider
        ),
        status=status,
        tasks=tasks,
        limits=ConnectionLimits(
            channels=settings.limit_channels_per_connection,
            frames_per_second=settings.limit_frames_per_second,
            frame_bytes=settings.limit_frame_bytes,
        ),
        unsent_bytes=settings.limit_unsent_bytes,
        timing=timing,
    )
    counts = Counts(
        settings.prefix, pipeline, status, hub, connections.registry, connections.statistics
    )
    has_siblings = tasks is not None and can_exchange() and has_sibling_workers()
    context = ServerContext(
        settings=settings,
        pipeline=pipeline,
        authenticator=authenticator,
        tokens=tokens,
        signatures=signatures,
        status=status,
        connections=connections,
        jobs=jobs,
        counts=counts,
        worker_metrics=WorkerMetrics(settings.prefix, counts.encode) if has_siblings else None,
        operators=operators,
        warnings=warnings,
        application=application,
    )
    return context
