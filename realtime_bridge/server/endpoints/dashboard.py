"""Dashboard: a page about this server, its state as JSON, and events published by hand."""

import os
import platform
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import cache, partial
from heapq import nlargest
from pathlib import Path
from typing import Any

from realtime_bridge import __version__
from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import is_internal
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.wire import rpc
from realtime_bridge.publishing.batch_checks import owned_key
from realtime_bridge.server.auth.authenticator import Authenticator
from realtime_bridge.server.auth.operators import Operators
from realtime_bridge.server.endpoints.health import Health
from realtime_bridge.server.endpoints.metrics import Family, Metrics
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.http.request import HTTPError, Request
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline
from realtime_bridge.server.recent_warnings import RecentWarnings

Endpoint = Callable[[Request], Awaitable[Response]]

MAX_CHANNELS = 200
"""Channels that the page shows, those with the most subscribers."""

FOLDER = Path(__file__).parent.parent / "static" / "dashboard"
FILES = {
    "": ("dashboard.html", "text/html; charset=utf-8"),
    "dashboard.css": ("dashboard.css", "text/css; charset=utf-8"),
    "dashboard.js": ("dashboard.js", "text/javascript; charset=utf-8"),
}
"""File and content type of each route of the page."""

HEADERS = {
    # Nothing of another host, nothing inline, and no page around it that could take its clicks.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}


class Dashboard:
    """Endpoints of the dashboard, for operators alone.

    Args:
        authenticator: authenticates the requests.
        operators: decides who is an operator.
        pipeline: the log, and the broadcaster that publishes.
        hub: the open channels.
        health: the health of this run.
        metrics: the metrics of all workers.
        warnings: the last warnings of this process.

    """

    def __init__(
        self,
        authenticator: Authenticator,
        operators: Operators,
        pipeline: ServerPipeline,
        hub: Hub,
        health: Health,
        metrics: Metrics,
        warnings: RecentWarnings,
    ) -> None:
        self._authenticator = authenticator
        self._operators = operators
        self._pipeline = pipeline
        self._hub = hub
        self._health = health
        self._metrics = metrics
        self._warnings = warnings

    def routes(self) -> dict[str, dict[str, Endpoint]]:
        """Return the endpoints by route and method."""
        files: dict[str, dict[str, Endpoint]] = {
            route: {"GET": partial(self.file, route)} for route in FILES
        }
        return files | {
            "dashboard/state": {"GET": self.state},
            "dashboard/publish": {"POST": self.publish},
        }

    async def file(self, route: str, request: Request) -> Response:
        """Answer the requests for the page and its parts."""
        await self._operators.require(self._authenticator, request)
        name, kind = FILES[route]
        return Response(body=_read(name), headers={"content-type": kind, **HEADERS})

    async def state(self, request: Request) -> Response:
        """Answer `GET dashboard/state`."""
        await self._operators.require(self._authenticator, request)
        pipeline, families = self._pipeline, await self._metrics.families()
        backend = pipeline.broadcaster.backend
        return Response.json(
            {
                "time": time.time_ns() // 1_000_000,
                "version": __version__,
                "python": platform.python_version(),
                "worker": os.getpid(),
                "dev": self._authenticator.guard is not None,
                "log": pipeline.log_name,
                "backend": type(backend).__name__ if backend else None,
                "health": self._health.details(),
                "metrics": _totals(families),
                "channels": list(self._channels()),
                "warnings": self._warnings.lines(),
            }
        )

    async def publish(self, request: Request) -> Response:
        """Answer `POST dashboard/publish {channel, event, data, key?}`.

        Raises:
            HTTPError: 400, the event is not valid; 409, its key belongs to a job or a stream.
            PublishError: the log or the backend failed.

        """
        body = await request.json()
        await self._operators.require(self._authenticator, request)
        try:
            event = Event(
                channel=body.get("channel", ""),
                event=body.get("event", ""),
                data=body.get("data"),
                key=body.get("key"),
            )
            (receipt,) = await self._pipeline.broadcaster.publish_many([event])
        except InvalidEventError as error:
            raise HTTPError(400, "invalid_event", str(error)) from error
        if receipt.refused:
            raise HTTPError(409, "key_owned", str(owned_key(event)))
        return Response.json(rpc.pack_receipt(receipt))

    def _channels(self) -> Iterator[dict[str, Any]]:
        """Yield the channels of this worker with the most subscribers."""
        fanouts = (fan for name, fan in self._hub.fanouts.items() if not is_internal(name))
        for fanout in nlargest(MAX_CHANNELS, fanouts, key=lambda fan: fan.subscriber_count):
            yield {
                "name": fanout.channel,
                "subscribers": fanout.subscriber_count,
                "offset": fanout.position.offset,
            }


def _totals(families: Iterable[Family]) -> dict[str, dict[str, float]]:
    """Return the sum over all workers of each metric, by the value of its label.

    A metric without a label has the empty one.
    """
    totals: dict[str, dict[str, float]] = {}
    for family in families:
        if family.kind not in ("gauge", "counter"):
            continue
        sums = totals.setdefault(family.short_name, defaultdict(float))
        for _, labels, value in family.samples:
            own = [text for name, text in labels.items() if name != "worker"]
            sums[" ".join(own)] += value
    return totals


@cache
def _read(name: str) -> bytes:
    return (FOLDER / name).read_bytes()
