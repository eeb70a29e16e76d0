"""Set-up of OpenTelemetry in a process of the lab: spans are made and exported, and go nowhere."""

from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

TRACES = "LAB_TRACES"
"""Environment variable of a publisher that records spans."""


class _Discard(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def record_spans() -> None:
    """Give this process a tracer provider, as `opentelemetry-instrument` does it."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(_Discard()))
    trace.set_tracer_provider(provider)
