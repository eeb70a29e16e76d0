"""What this process counts, for Prometheus."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from realtime_bridge.server.http.request import HTTPError
from realtime_bridge.server.http.response import Response

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from realtime_bridge.server.context import ServerContext


async def metrics(engine: "ServerContext") -> Response:
    """Answer `GET metrics`: numbers and no names, in Prometheus's text format."""
    try:
        from prometheus_client import CollectorRegistry, exposition
    except ModuleNotFoundError as error:
        raise HTTPError(
            404, "not_installed", "Run: pip install 'realtime-bridge[metrics]'"
        ) from error
    registry = CollectorRegistry()
    registry.register(_Collector(engine))
    headers = {"content-type": exposition.CONTENT_TYPE_PLAIN_0_0_4}
    return Response(body=exposition.generate_latest(registry), headers=headers)


class _Collector:
    """Reads the counts when it is asked, so that counting costs an addition and no more."""

    def __init__(self, engine: "ServerContext") -> None:
        self._engine = engine

    def collect(self) -> Iterator["Metric"]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        prefix = self._engine.settings.prefix.replace("-", "_")
        for name, says, value in _gauges(self._engine):
            yield GaugeMetricFamily(f"{prefix}_{name}", says, value)
        for name, says, value in _counters(self._engine):
            yield CounterMetricFamily(f"{prefix}_{name}", says, value)


def _gauges(engine: "ServerContext") -> Iterable[tuple[str, str, float]]:
    return (
        ("connections", "Sockets and streams that are open", engine.connections.total()),
        ("users", "Users who have one", len(engine.connections)),
        ("channels", "Channels that somebody listens to here", len(engine.hub.channels)),
        ("log_up", "Whether the log is heard, and answers", engine.hub.healthy),
        ("draining", "Whether clients are being sent away", engine.clients.draining),
        ("generation", "Of the delivering configuration", engine.generation),
    )


def _counters(engine: "ServerContext") -> Iterable[tuple[str, str, float]]:
    broadcaster, hub = engine.broadcaster, engine.hub
    return (
        ("published", "Events appended through this process", broadcaster.published),
        ("unpushed", "Events that the log has and the backend refused", broadcaster.unpushed),
        ("events", "Events fanned out here", hub.events),
        ("recoveries", "Gaps read from the log here", hub.recoveries),
        ("resets", "Holes that clients here were told of", hub.resets),
    )
