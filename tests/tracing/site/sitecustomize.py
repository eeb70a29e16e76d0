"""Set-up of OpenTelemetry in each process, as `opentelemetry-instrument` does it.

Each finished span is a line of JSON in the file that `SPANS` names.
"""

import os
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor


def line_of(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"


spans = Path(os.environ["SPANS"]).open("a", buffering=1)  # noqa: SIM115 -- until the process ends
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=spans, formatter=line_of)))
trace.set_tracer_provider(provider)
