"""ASGI's lifespan protocol, for a bridge that is served alone."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from realtime_bridge.errors import RealtimeError
from realtime_bridge.server.http.request import Message, Receive, Scope, Send


async def run_lifespan(
    bridge: AbstractAsyncContextManager[Any],
    state: Callable[[], dict[str, Any]],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Start the bridge at the startup event, and stop it at the shutdown event.

    Args:
        bridge: the bridge, which starts and stops as a context manager.
        state: returns the lifespan state of the started bridge.
        scope: the ASGI scope, whose state is updated.
        receive: returns ASGI's next event.
        send: sends an event to the ASGI server.

    """
    await receive()
    try:
        await bridge.__aenter__()
    except RealtimeError as error:
        await send(_event("lifespan.startup.failed", message=str(error)))
        return
    scope.get("state", {}).update(state())
    await send(_event("lifespan.startup.complete"))
    await receive()
    await bridge.__aexit__(None, None, None)
    await send(_event("lifespan.shutdown.complete"))


def _event(kind: str, **fields: str) -> Message:
    return {"type": kind, **fields}
