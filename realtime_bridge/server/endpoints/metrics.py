"""Metrics of this process, and of the other workers of its server, in Prometheus's format."""

import platform
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

import msgspec

from realtime_bridge import __version__
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.http.request import HTTPError
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline
from realtime_bridge.server.lifecycle.status import ServerStatus
from realtime_bridge.server.lifecycle.worker_metrics import WorkerMetrics
from realtime_bridge.server.registry import ConnectionRegistry
from realtime_bridge.server.statistics import Histogram, ServerStatistics

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_TRANSPORTS = ("websocket", "sse", "poll", "stream", "pusher")
_OUTLETS = (
    ("delivered", "counter", "Events that the target of an outlet accepted."),
    ("failures", "counter", "Failed requests of an outlet; each is tried again."),
    ("missed", "counter", "Events that the log had removed before an outlet delivered them."),
    ("waiting", "gauge", "Channels with events that an outlet has to deliver."),
)

Sample = tuple[str, dict[str, str], float]
"""Suffix of the metric's name, labels, value."""


class Family(msgspec.Struct, frozen=True):
    """Metric with the samples of one process."""

    name: str
    kind: str
    description: str
    samples: list[Sample]
    short_name: str
    """Name without the application's prefix."""


class Counts:
    """Metrics of this process, read from the parts of one run of the server.

    They are collected on request, so that an event costs one addition and no more.

    Args:
        prefix: the application's prefix, with which each name begins.
        pipeline: the counts of published events.
        status: the generation.
        hub: the counts of announced events.
        registry: the connected clients.
        statistics: the other counts.

    """

    def __init__(
        self,
        prefix: str,
        pipeline: ServerPipeline,
        status: ServerStatus,
        hub: Hub,
        registry: ConnectionRegistry,
        statistics: ServerStatistics,
    ) -> None:
        self._prefix = prefix.replace("-", "_")
        self._pipeline = pipeline
        self._status = status
        self._hub = hub
        self._registry = registry
        self._statistics = statistics

    def encode(self) -> bytes:
        """Return the metrics for another worker."""
        return msgspec.json.encode(list(self.families()))

    def families(self) -> Iterator[Family]:
        """Yield the metrics."""
        # Public, therefore without names of users or channels as labels.
        for name, description, value in self._gauges():
            yield self._family(name, "gauge", description, [("", {}, float(value))])
        for name, description, value in self._counters():
            yield self._family(name, "counter", description, [("_total", {}, value)])
        yield from self._labelled()
        yield from self._outlets()
        for metric in self._pipeline.log.metrics():
            samples: list[Sample] = [
                (suffix, {}, value) for suffix, value in metric.samples.items()
            ]
            yield self._family(metric.name, metric.kind, metric.description, samples)

    def _family(self, name: str, kind: str, description: str, samples: Iterable[Sample]) -> Family:
        full_name = f"{self._prefix}_{name}"
        return Family(full_name, kind, description, list(samples), short_name=name)

    def _gauges(self) -> Iterable[tuple[str, str, float]]:
        hub, registry = self._hub, self._registry
        start, generation = self._statistics.started, self._status.generation
        return (
            ("users", "Users with an open connection to this worker.", len(registry.users)),
            ("channels", "Channels with a subscriber in this worker.", len(hub.fanouts)),
            ("log_up", "1 while the log answers and its announcements arrive.", hub.healthy),
            ("draining", "1 while this worker moves its clients away.", registry.draining),
            ("delivery_generation", "Number of changes of the delivery configuration.", generation),
            ("start_time_seconds", "Start of this worker, in seconds since the Unix epoch.", start),
        )

    def _counters(self) -> Iterable[tuple[str, str, float]]:
        broadcaster, hub, counts = self._pipeline.broadcaster, self._hub, self._statistics
        return (
            ("events_published", "Events published by this worker.", broadcaster.published),
            (
                "events_unpushed",
                "Published events whose push to the provider failed; clients read them later.",
                broadcaster.unpushed,
            ),
            ("events_announced", "Events that the log announced to this worker.", counts.announced),
            (
                "events_recovered",
                "Events read from the log because their announcement was missing.",
                hub.recovery.events,
            ),
            (
                "event_deliveries",
                "Events written to connected subscribers, once for each subscriber.",
                counts.deliveries,
            ),
            ("polls", "Polls answered.", counts.polls),
            ("slow_clients", "Times that a client read too slowly for push.", counts.slow_clients),
            ("recoveries", "Gaps in announcements, read from the log.", hub.recovery.started),
            (
                "resets",
                "Resets sent to channels because the log could not fill a gap.",
                hub.recovery.resets,
            ),
            (
                "pusher_door_gaps",
                "Gaps that Pusher's protocol cannot report to a client.",
                counts.pusher_gaps,
            ),
        )

    def _labelled(self) -> Iterator[Family]:
        counts, open_now = self._statistics, self._registry.transports()
        opened = self._registry.opened.items()
        yield self._family(
            "connections",
            "gauge",
            "Open connections, waiting polls and readers of streams, by transport.",
            [("", {"transport": name}, open_now[name]) for name in _TRANSPORTS],
        )
        yield self._family(
            "connections_opened",
            "counter",
            "Connections, waiting polls and readers of streams accepted, by transport.",
            [("_total", {"transport": name}, count) for name, count in opened],
        )
        yield self._family(
            "connections_closed",
            "counter",
            "Connections closed by the server, by close code of the protocol.",
            [("_total", {"code": str(code)}, count) for code, count in counts.closed.items()],
        )
        yield self._family(
            "refusals",
            "counter",
            "Requests, connections and subscriptions refused, by the code of the error.",
            [("_total", {"code": code}, count) for code, count in counts.refusals.items()],
        )
        yield self._family(
            "event_delay_seconds",
            "histogram",
            "Time from an event's append to its announcement in this worker.",
            _samples(counts.delays),
        )
        version = {"version": __version__, "python": platform.python_version()}
        yield self._family(
            "build_info", "gauge", "Version of realtime_bridge; the value is 1.", [("", version, 1)]
        )

    def _outlets(self) -> Iterator[Family]:
        """Yield the metrics of outlets, which have numbers: their URLs may be secret."""
        outlets = list(enumerate(self._statistics.outlets, 1))
        for name, kind, description in _OUTLETS if outlets else ():
            suffix = "_total" if kind == "counter" else ""
            samples: list[Sample] = [
                (suffix, {"outlet": str(number)}, getattr(counts, name))
                for number, counts in outlets
            ]
            yield self._family(f"outlet_{name}", kind, description, samples)


class Metrics:
    """Answer to a scrape: one page with the metrics of all workers.

    Args:
        counts: the metrics of this process.
        workers: the other workers, where the server may have several.

    """

    def __init__(self, counts: Counts, workers: WorkerMetrics | None) -> None:
        self._counts = counts
        self._workers = workers

    async def report(self) -> Response:
        """Answer `GET metrics` in Prometheus's text format."""
        try:
            from prometheus_client import CollectorRegistry, exposition
        except ModuleNotFoundError as error:
            raise HTTPError(
                404,
                "not_installed",
                "prometheus_client is not installed: run pip install 'realtime-bridge[metrics]'",
            ) from error
        registry = CollectorRegistry()
        registry.register(_Collector(await self.families()))
        headers = {"content-type": exposition.CONTENT_TYPE_PLAIN_0_0_4}
        return Response(body=exposition.generate_latest(registry), headers=headers)

    async def families(self) -> list[Family]:
        """Return the metrics of all workers."""
        own = list(self._counts.families())
        if self._workers is None:
            return own
        reports = await self._workers.collect()
        families = _labelled(own, self._workers.name)
        for worker, report in reports.items():
            if report:
                families += _labelled(msgspec.json.decode(report, type=list[Family]), worker)
        return families


class _Collector:
    """Collector of `prometheus_client` for given metrics."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator["Metric"]:
        """Yield each metric once, with the samples of all workers."""
        from prometheus_client.core import Metric

        metrics: dict[str, Metric] = {}
        for family in self._families:
            metric = metrics.get(family.name)
            if metric is None:
                metric = metrics[family.name] = Metric(family.name, family.description, family.kind)
            for suffix, labels, value in family.samples:
                metric.add_sample(family.name + suffix, labels, value)
        yield from metrics.values()


def _labelled(families: Iterable[Family], worker: str) -> list[Family]:
    """Return the metrics with the label of their worker."""

    def add(labels: Mapping[str, str]) -> dict[str, str]:
        return {**labels, "worker": worker}

    return [
        msgspec.structs.replace(
            family,
            samples=[(suffix, add(labels), value) for suffix, labels, value in family.samples],
        )
        for family in families
    ]


def _samples(histogram: Histogram) -> Iterator[Sample]:
    bounds = [*map(str, histogram.bounds), "+Inf"]
    for bound, count in zip(bounds, accumulate(histogram.counts), strict=True):
        yield "_bucket", {"le": bound}, count
    yield "_count", {}, sum(histogram.counts)
    yield "_sum", {}, histogram.sum
