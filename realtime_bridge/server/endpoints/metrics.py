"""Counts of this process in Prometheus's format."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from realtime_bridge.server.http.request import HTTPError
from realtime_bridge.server.http.response import Response

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from realtime_bridge.server.context import ServerContext


async def metrics(engine: "ServerContext") -> Response:
    """Answer `GET metrics` in Prometheus's text format."""
    # Public, therefore without names of users or channels as labels.
    try:
        from prometheus_client import CollectorRegistry, exposition
    except ModuleNotFoundError as error:
        raise HTTPError(
            404,
            "not_installed",
            "prometheus_client is not installed: run pip install 'realtime-bridge[metrics]'",
        ) from error
    registry = CollectorRegistry()
    registry.register(_Collector(engine))
    headers = {"content-type": exposition.CONTENT_TYPE_PLAIN_0_0_4}
    return Response(body=exposition.generate_latest(registry), headers=headers)


class _Collector:
    """Collector that reads the counts on each scrape; between scrapes a count is an addition."""

    def __init__(self, engine: "ServerContext") -> None:
        self._engine = engine

    def collect(self) -> Iterator["Metric"]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        prefix = self._engine.settings.prefix.replace("-", "_")
        for name, description, value in _gauges(self._engine):
            yield GaugeMetricFamily(f"{prefix}_{name}", description, value)
        for name, description, value in _counters(self._engine):
            yield CounterMetricFamily(f"{prefix}_{name}", description, value)


def _gauges(engine: "ServerContext") -> Iterable[tuple[str, str, float]]:
    return (
        ("connections", "Open sockets and streams", engine.connections.total()),
        ("users", "Users with an open connection", len(engine.connections)),
        ("channels", "Channels with a subscriber in this process", len(engine.hub.channels)),
        ("log_up", "1 while the log answers and its feed is connected", engine.hub.healthy),
        ("draining", "1 while this server drains its connections", engine.clients.draining),
        ("generation", "Generation of the delivery configuration", engine.generation),
    )


def _counters(engine: "ServerContext") -> Iterable[tuple[str, str, float]]:
    broadcaster, hub = engine.broadcaster, engine.hub
    return (
        ("published", "Events published by this process", broadcaster.published),
        ("unpushed", "Events in the log that the backend failed to push", broadcaster.unpushed),
        ("events", "Events fanned out by this process", hub.events),
        ("recoveries", "Gaps recovered from the log", hub.recoveries),
        ("resets", "Resets sent for gaps that the log cannot fill", hub.resets),
    )
