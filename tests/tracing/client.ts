// Client of a page that handles one event within a span. Arguments: the bridge's URL, a token.

import { context, propagation, ROOT_CONTEXT, SpanKind, trace } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { HybridClient, type RealtimeEvent } from '../../clients/js/src/index.js';

const exporter = new InMemorySpanExporter();
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
propagation.setGlobalPropagator(new W3CTraceContextPropagator());

// As docs/traces.md has it.
function traced(handle: (event: RealtimeEvent) => void): (event: RealtimeEvent) => void {
  return (event) => {
    const parent = propagation.extract(ROOT_CONTEXT, event);
    const publish = trace.getSpanContext(parent);
    if (!publish) return handle(event);
    const options = { kind: SpanKind.CONSUMER, links: [{ context: publish }] };
    const span = trace.getTracer('page').startSpan(`process ${event.event}`, options, parent);
    try {
      context.with(trace.setSpan(parent, span), handle, undefined, event);
    } finally {
      span.end();
    }
  };
}

const [, , url, token] = process.argv;
const client = new HybridClient({ endpoint: url!, token: token! });
const channel = client.channel('user-ada');
channel.subscribe(() => {
  if (channel.get().position) console.error('subscribed');
});
client.subscribe('user-ada', { onEvent: traced(() => client.stop()) });
client.start();
process.on('exit', () => {
  for (const span of exporter.getFinishedSpans()) {
    const { traceId, spanId } = span.spanContext();
    const links = span.links.map((link) => link.context.spanId);
    console.log(JSON.stringify({ name: span.name, trace: traceId, id: spanId, parent: span.parentSpanContext?.spanId, links }));
  }
});
