"""Spans of OpenTelemetry around publishes, fan-outs and handlers, in a process that makes spans.

Nothing here imports OpenTelemetry into a process without it: a caller looks first whether
`OPENTELEMETRY` is among the loaded modules. So a process that makes no spans pays nothing.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from sys import modules
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from realtime_bridge.model.channel import ChannelPattern
from realtime_bridge.model.declaration import declarations
from realtime_bridge.model.event import Event

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

OPENTELEMETRY = "opentelemetry.trace"
"""Module that each process with spans has loaded."""

_SYSTEM = "realtime_bridge"


@contextmanager
def handler_span(event: Event) -> Generator[None]:
    """Make a CONSUMER span, the current one, around the code that handles a received event.

    The span belongs to the trace of the publish, and has a link to its span. Without OpenTelemetry,
    and for an event without a trace context, there is no span.

    ```python
    async for item in client:
        if isinstance(item, Event):
            with handler_span(item):
                await handle(item)
    ```
    """
    if event.traceparent is None or OPENTELEMETRY not in modules:
        yield
        return
    from opentelemetry.trace import Link, SpanKind, get_current_span

    parent = _context_of(event.traceparent)
    with _tracer().start_as_current_span(
        _name("process", [event]),
        parent,
        SpanKind.CONSUMER,
        _attributes("process", [event]) | {"messaging.operation.type": "process"},
        [Link(get_current_span(parent).get_span_context())],
    ):
        yield


def needs_publish_span(events: Sequence[Event]) -> bool:
    """Return whether a recorded span is current, and one of the events has no trace context."""
    from opentelemetry.trace import get_current_span

    return get_current_span().is_recording() and not all(event.traceparent for event in events)


@contextmanager
def publish_span(events: Sequence[Event]) -> Generator[list[Event]]:
    """Make a PRODUCER span around a publish, and yield the events with its trace context.

    An event that has a trace context keeps it.
    """
    from opentelemetry.trace import SpanKind

    with _tracer().start_as_current_span(
        _name("publish", events),
        None,
        SpanKind.PRODUCER,
        _attributes("publish", events) | {"messaging.operation.type": "send"},
    ) as span:
        made = span.get_span_context()
        # Not by a propagator: it writes nothing for a span that is not valid.
        parent = f"00-{made.trace_id:032x}-{made.span_id:016x}-{made.trace_flags:02x}"
        yield [
            event if event.traceparent else replace(event, traceparent=parent) for event in events
        ]


@contextmanager
def fan_out_spans(
    events: Sequence[Event], subscriber_count: Callable[[str], int]
) -> Generator[None]:
    """Make a CONSUMER span for each event with a trace context, around its fan-out to clients.

    Args:
        events: the events.
        subscriber_count: returns the number of subscribers of a channel; without any, no span.

    """
    from opentelemetry.trace import SpanKind

    with ExitStack() as spans:
        for event in events:
            if event.traceparent is not None and (count := subscriber_count(event.channel)):
                attributes = _attributes("fan_out", [event])
                span = _tracer().start_span(
                    _name("fan_out", [event]),
                    _context_of(event.traceparent),
                    SpanKind.CONSUMER,
                    attributes | {"realtime_bridge.subscribers": count},
                )
                spans.callback(span.end)
        yield


def _tracer() -> "Tracer":
    from opentelemetry.trace import get_tracer

    return get_tracer(_SYSTEM)


def _context_of(traceparent: str) -> "Context":
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent})


def _name(operation: str, events: Sequence[Event]) -> str:
    # A name of few values, as the conventions for messaging ask: channels have ids in them.
    return f"{operation} {_template(events) or _SYSTEM}"


def _attributes(operation: str, events: Sequence[Event]) -> dict[str, Any]:
    """Return the attributes that the conventions for messaging have for these events."""
    event, channels = events[0], {event.channel for event in events}
    attributes: dict[str, Any] = {
        "messaging.system": _SYSTEM,
        "messaging.operation.name": operation,
    }
    if len(channels) == 1:
        attributes["messaging.destination.name"] = event.channel
    if template := _template(events):
        attributes["messaging.destination.template"] = template
    if len(events) > 1:
        return attributes | {"messaging.batch.message_count": len(events)}
    return attributes | {
        "messaging.message.id": event.id,
        "messaging.message.body.size": len(event.body),
        "realtime_bridge.event": event.event,
    }


def _template(events: Sequence[Event]) -> str | None:
    """Return the pattern of the channel that a declaration gives all these events."""
    named = {(event.event, event.channel) for event in events}
    templates = {_declared_pattern(*names) for names in named}
    return templates.pop() if len(templates) == 1 else None


def _declared_pattern(name: str, channel: str) -> str | None:
    for declaration in list(declarations.values()):
        if declaration.event == name and ChannelPattern(declaration.on).match(channel) is not None:
            return declaration.on
    return None
