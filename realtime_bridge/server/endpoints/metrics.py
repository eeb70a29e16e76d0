"""Counts of this process in Prometheus's format."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.http.request import HTTPError
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline
from realtime_bridge.server.lifecycle.status import ServerStatus
from realtime_bridge.server.registry import ConnectionRegistry

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class Metrics:
    """Metrics of one run of the server.

    They are collected on request, so that an event costs one addition and no more.

    Args:
        prefix: the application's prefix, with which each name begins.
        pipeline: the counts of published events.
        status: the generation.
        hub: the counts of delivered events.
        registry: the connected clients.

    """

    def __init__(
        self,
        prefix: str,
        pipeline: ServerPipeline,
        status: ServerStatus,
        hub: Hub,
        registry: ConnectionRegistry,
    ) -> None:
        self._prefix = prefix.replace("-", "_")
        self._pipeline = pipeline
        self._status = status
        self._hub = hub
        self._registry = registry

    async def report(self) -> Response:
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
        registry.register(self)
        headers = {"content-type": exposition.CONTENT_TYPE_PLAIN_0_0_4}
        return Response(body=exposition.generate_latest(registry), headers=headers)

    def collect(self) -> Iterator["Metric"]:
        """Yield the metrics, as `prometheus_client` requires of a collector."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, description, value in self._gauges():
            yield GaugeMetricFamily(f"{self._prefix}_{name}", description, value)
        for name, description, value in self._counters():
            yield CounterMetricFamily(f"{self._prefix}_{name}", description, value)

    def _gauges(self) -> Iterable[tuple[str, str, float]]:
        hub, registry = self._hub, self._registry
        return (
            ("connections", "Open sockets, streams and long polls", registry.users.total()),
            ("users", "Users with an open connection", len(registry.users)),
            ("channels", "Channels with a subscriber in this process", len(hub.fanouts)),
            ("log_up", "1 while the log answers and its feed is connected", hub.healthy),
            ("draining", "1 while this server drains its connections", registry.draining),
            ("generation", "Generation of the delivery configuration", self._status.generation),
        )

    def _counters(self) -> Iterable[tuple[str, str, float]]:
        broadcaster, hub = self._pipeline.broadcaster, self._hub
        return (
            ("published", "Events published by this process", broadcaster.published),
            ("unpushed", "Events in the log that the backend failed to push", broadcaster.unpushed),
            ("events", "Events fanned out by this process", hub.events),
            ("recoveries", "Gaps recovered from the log", hub.recovery.started),
            ("resets", "Resets sent for gaps that the log cannot fill", hub.recovery.resets),
        )
