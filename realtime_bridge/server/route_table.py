"""Table of the routes below the mount point: which endpoint answers which request."""

from collections.abc import Awaitable, Callable
from functools import partial

from realtime_bridge.server.context import ServerContext
from realtime_bridge.server.endpoints.connect import Descriptors
from realtime_bridge.server.endpoints.dashboard import Dashboard
from realtime_bridge.server.endpoints.health import Health
from realtime_bridge.server.endpoints.jobs import JobRequests
from realtime_bridge.server.endpoints.latest import LatestEvents
from realtime_bridge.server.endpoints.metrics import Metrics
from realtime_bridge.server.endpoints.poll import Polls
from realtime_bridge.server.endpoints.provider_auth import ProviderAuthorization, Signer
from realtime_bridge.server.endpoints.publish import WorkerCalls
from realtime_bridge.server.endpoints.stream import Streams
from realtime_bridge.server.http import client_js
from realtime_bridge.server.http.request import Request
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.pusher.routes import PusherRoutes

Route = Callable[[Request], Awaitable[Response]]
Table = dict[str, dict[str, Route]]
"""Endpoint by the path below the mount point, and by the method."""


def route_table(
    context: ServerContext, polls: Polls, worker_calls: WorkerCalls, pusher: PusherRoutes | None
) -> Table:
    """Return the endpoints of a server.

    Args:
        context: the parts of the server.
        polls: the endpoint of polls.
        worker_calls: the endpoint of workers that publish.
        pusher: the routes of Pusher's protocol, if the server speaks it.

    """
    return (
        _events(context, polls, worker_calls)
        | _reports(context)
        | _files()
        | _provider_authorizations(context, pusher)
    )


def new_polls(context: ServerContext) -> Polls:
    """Return the endpoint of polls of a server."""
    connections = context.connections
    return Polls(
        context.authenticator,
        connections.access,
        context.pipeline,
        context.hub,
        context.registry,
        context.status,
        connections.timing,
        connections.statistics,
        connections.presence,
        budget=connections.budget,
        max_channels=context.settings.limit_channels_per_connection,
    )


def _events(context: ServerContext, polls: Polls, worker_calls: WorkerCalls) -> Table:
    connections = context.connections
    descriptors = Descriptors(
        context.settings,
        context.authenticator,
        context.tokens,
        context.pipeline,
        context.status,
        heartbeat=connections.timing.session.heartbeat,
    )
    latest = LatestEvents(
        context.authenticator, connections.access, context.pipeline, budget=connections.budget
    )
    jobs = JobRequests(connections, context.pipeline, context.jobs)
    streams = Streams(connections, context.pipeline, context.check_open)
    return {
        "connect": {"POST": descriptors.connect},
        "poll": {"POST": polls.poll},
        "latest": {"GET": latest.latest},
        "stream": {"GET": streams.read},
        "stream/stop": {"POST": streams.stop},
        "job/cancel": {"POST": jobs.cancel},
        "job/answer": {"POST": jobs.answer},
        "publish": {"POST": worker_calls.publish},
    }


def _reports(context: ServerContext) -> Table:
    parts = context.pipeline, context.status, context.hub, context.registry
    health = Health(*parts, lambda: context.failing)
    metrics = Metrics(context.counts, context.worker_metrics)
    dashboard = Dashboard(
        context.authenticator,
        context.operators,
        context.pipeline,
        context.hub,
        health,
        metrics,
        context.warnings,
    )
    return dashboard.routes() | {
        "health": {"GET": lambda _: health.report()},
        "health/live": {"GET": lambda _: health.live()},
        "health/ready": {"GET": lambda _: health.ready()},
        "metrics": {"GET": lambda _: metrics.report()},
    }


def _files() -> Table:
    return {name: {"GET": partial(client_js.script, name)} for name in client_js.names()}


def _provider_authorizations(context: ServerContext, pusher: PusherRoutes | None) -> Table:
    connections = context.connections
    signers: dict[str, Signer] = {}
    if pusher:
        signers["pusher"] = pusher.authorization
    # A hosted Pusher takes the place: its names begin with the prefix of the application.
    signers |= {hosted.provider: hosted for hosted in context.pipeline.hosted_backends}
    parts = context.authenticator, connections.access, connections.presence.describe
    return {
        f"auth/{name}": {"POST": ProviderAuthorization(signer, *parts).authorize}
        for name, signer in signers.items()
    }
