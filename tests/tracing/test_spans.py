"""Spans of publishes and handlers: their names, attributes and places in a trace."""

import subprocess
import sys
import time
from collections.abc import AsyncIterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    get_tracer,
    use_span,
)
from pydantic import BaseModel

from realtime_bridge import BlockingBroadcaster, Broadcaster, Event, InvalidEventError, events
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.testing.contracts.samples import TRACEPARENT
from realtime_bridge.tracing import handler_span
from realtime_bridge_backends.memory import MemoryBackend

tracer = get_tracer("tests")

CHANNEL = "messaging.destination.name"
TIMEOUT = 60.0


@events.define("traced.paid", on="order.{order_id}")
class Paid(BaseModel):
    order_id: int


@pytest.fixture
async def broadcaster() -> AsyncIterator[Broadcaster]:
    async with Broadcaster(log=MemoryBackend()) as broadcaster:
        yield broadcaster


async def traceparents(broadcaster: Broadcaster, channel: str = "job.7") -> list[str | None]:
    log = broadcaster.log
    assert log
    top = (await log.positions([channel]))[channel]
    page = await log.read(channel, Position(top.epoch, 0))
    assert isinstance(page, Page)
    return [event.traceparent for event in page.events]


def traceparent_of(span: ReadableSpan) -> str:
    made = span.get_span_context()
    assert made
    return f"00-{made.trace_id:032x}-{made.span_id:016x}-{made.trace_flags:02x}"


async def test_publish_within_a_span_is_a_producer(
    broadcaster: Broadcaster, exporter: InMemorySpanExporter
) -> None:
    with tracer.start_as_current_span("task") as task:
        await broadcaster.publish("job.7", "job.step", {"step": 1}, id="e1")
    publish, _ = exporter.get_finished_spans()
    assert (publish.name, publish.kind) == ("publish realtime_bridge", SpanKind.PRODUCER)
    assert publish.parent == task.get_span_context()
    assert publish.attributes == {
        "messaging.system": "realtime_bridge",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": "job.7",
        "messaging.message.id": "e1",
        "messaging.message.body.size": 10,
        "realtime_bridge.event": "job.step",
    }
    assert await traceparents(broadcaster) == [traceparent_of(publish)]


async def test_publish_of_a_declared_event_is_named_by_its_pattern(
    broadcaster: Broadcaster, exporter: InMemorySpanExporter
) -> None:
    with tracer.start_as_current_span("task"):
        await broadcaster.publish(Paid(order_id=7))
        await broadcaster.publish("other.7", "traced.paid")
    paid, elsewhere, _ = exporter.get_finished_spans()
    assert paid.name == "publish order.{order_id}"
    assert paid.attributes
    assert paid.attributes["messaging.destination.template"] == "order.{order_id}"
    assert elsewhere.name == "publish realtime_bridge"


async def test_publish_without_a_recorded_span_is_not_traced(
    broadcaster: Broadcaster, exporter: InMemorySpanExporter
) -> None:
    await broadcaster.publish("job.7", "job.step")
    not_sampled = NonRecordingSpan(SpanContext(1, 1, is_remote=True))
    with use_span(not_sampled):
        await broadcaster.publish("job.7", "job.step")
    assert exporter.get_finished_spans() == ()
    assert await traceparents(broadcaster) == [None, None]


async def test_batch_is_one_span_and_keeps_earlier_contexts(
    broadcaster: Broadcaster, exporter: InMemorySpanExporter
) -> None:
    made, traced, again = (
        Event(channel="job.7", event="job.step", data=1, traceparent=traceparent)
        for traceparent in (None, TRACEPARENT, TRACEPARENT)
    )
    with tracer.start_as_current_span("task"):
        await broadcaster.publish_many([made, traced])
        await broadcaster.publish_many([again])
        await broadcaster.publish_many([])
    publish, _ = exporter.get_finished_spans()
    assert publish.attributes
    assert publish.attributes["messaging.batch.message_count"] == 2
    assert await traceparents(broadcaster) == [traceparent_of(publish), TRACEPARENT, TRACEPARENT]


async def test_failed_publish_is_an_error_of_its_span(
    broadcaster: Broadcaster, exporter: InMemorySpanExporter
) -> None:
    with tracer.start_as_current_span("task"), pytest.raises(InvalidEventError):
        await broadcaster.publish("job.7", "job.step", 2**60)
    publish, _ = exporter.get_finished_spans()
    assert publish.status.status_code is StatusCode.ERROR


def test_blocking_calls_belong_to_the_span_of_their_thread(
    exporter: InMemorySpanExporter,
) -> None:
    with (
        BlockingBroadcaster(lambda: Broadcaster(log=MemoryBackend())) as broadcaster,
        tracer.start_as_current_span("task") as task,
    ):
        broadcaster.publish("plain", "job.step")
        broadcaster.publish_in_background([Event(channel="later", event="job.step", data=2)])
        with broadcaster.job("job") as job:
            job.progress(50)
        # A call waits for the work in the background for a second at most.
        deadline = time.monotonic() + TIMEOUT
        while channels_of(exporter) != {"plain", "later", "job"} and time.monotonic() < deadline:
            time.sleep(0.005)
    spans = exporter.get_finished_spans()
    assert channels_of(exporter) == {"plain", "later", "job"}
    parents = [span.parent for span in spans if span.kind is SpanKind.PRODUCER]
    assert all(parent == task.get_span_context() for parent in parents)


def channels_of(exporter: InMemorySpanExporter) -> set[str]:
    attributes = (span.attributes or {} for span in exporter.get_finished_spans())
    return {str(one[CHANNEL]) for one in attributes if CHANNEL in one}


def test_handler_span_belongs_to_the_trace_of_the_publish(exporter: InMemorySpanExporter) -> None:
    event = Event(channel="job.7", event="job.step", data=1, traceparent=TRACEPARENT)
    with pytest.raises(ValueError, match="broken"), handler_span(event):
        raise ValueError("broken")
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind) == ("process realtime_bridge", SpanKind.CONSUMER)
    assert span.parent
    assert f"00-{span.parent.trace_id:032x}-{span.parent.span_id:016x}-01" == TRACEPARENT
    assert [link.context for link in span.links] == [span.parent]
    assert span.attributes
    assert span.attributes["messaging.operation.type"] == "process"
    assert span.status.status_code is StatusCode.ERROR


def test_handler_of_an_event_without_a_trace_has_no_span(exporter: InMemorySpanExporter) -> None:
    with handler_span(Event(channel="job.7", event="job.step", data=1)):
        pass
    assert exporter.get_finished_spans() == ()


PUBLISH_WITHOUT_SPANS = f"""
import asyncio, sys
from realtime_bridge import Broadcaster, Event
from realtime_bridge.tracing import handler_span
from realtime_bridge_backends.memory import MemoryBackend

async def main():
    async with Broadcaster(log=MemoryBackend()) as broadcaster:
        await broadcaster.publish("job.7", "job.step")
    traced = Event(channel="job.7", event="job.step", data=1, traceparent="{TRACEPARENT}")
    with handler_span(traced):
        pass

asyncio.run(main())
assert not any(name.startswith("opentelemetry") for name in sys.modules)
"""


def test_process_without_spans_loads_no_opentelemetry() -> None:
    subprocess.run([sys.executable, "-c", PUBLISH_WITHOUT_SPANS], check=True)
