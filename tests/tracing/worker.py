"""Worker that publishes an event within a span of its own."""

from opentelemetry import trace

from realtime_bridge import BlockingBroadcaster

with (
    BlockingBroadcaster.from_env() as broadcaster,
    trace.get_tracer("worker").start_as_current_span("make report"),
):
    broadcaster.publish("user-ada", "report.ready", {"report": 7})
