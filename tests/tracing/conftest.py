"""Tracer provider of this process, whose spans the tests read."""

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@pytest.fixture(scope="session")
def exporter_of_process() -> InMemorySpanExporter:
    # A process has one provider, for good. Without a current span, other tests make none.
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def exporter(exporter_of_process: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter_of_process.clear()
    yield exporter_of_process
    exporter_of_process.clear()
