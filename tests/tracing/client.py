"""Client that handles one event within a span. Arguments: the bridge's URL, a token."""

import asyncio
import sys

from opentelemetry import trace

from realtime_bridge import Event
from realtime_bridge.client import HybridClient
from realtime_bridge.tracing import handler_span


async def run(url: str, token: str) -> None:
    async with HybridClient(url, ["user-ada"], token=token) as client:
        await client.wait_subscribed()
        print("subscribed", file=sys.stderr, flush=True)
        async for item in client:
            if isinstance(item, Event):
                with (
                    handler_span(item),
                    trace.get_tracer("client").start_as_current_span("show report"),
                ):
                    return


asyncio.run(run(*sys.argv[1:]))
