"""Servers that run in this process, by their prefix."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from msgspec import Struct

from realtime_bridge.model.event import Event
from realtime_bridge.model.fork import after_fork_in_child
from realtime_bridge.model.receipt import Receipt


class BatchPublisher(Protocol):
    """Publisher of a server, in the server's event loop."""

    async def publish_many(self, events: Sequence[Event]) -> list[Receipt]:
        """Publish the events in order."""


class LocalServer(Struct, frozen=True):
    """Broadcaster of a server in this process, and the event loop that runs the server."""

    broadcaster: BatchPublisher
    loop: asyncio.AbstractEventLoop

    async def publish_many(self, batch: Sequence[Event]) -> list[Receipt]:
        """Publish through the server's broadcaster, from this loop or another."""
        publishing = self.broadcaster.publish_many(batch)
        # The log belongs to the server's loop: another loop hands the coroutine over.
        if asyncio.get_running_loop() is self.loop:
            return await publishing
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(publishing, self.loop))


local_servers: dict[str | None, LocalServer] = {}
"""Running servers of this process by their prefix."""

# A forked child inherits the dictionary, but not the server's loop.
after_fork_in_child(local_servers.clear)


@contextmanager
def register_local_server(prefix: str, broadcaster: BatchPublisher) -> Iterator[None]:
    """Route the publishes of every broadcaster of `prefix` in this process through this one."""
    local_servers[prefix] = LocalServer(broadcaster, asyncio.get_running_loop())
    try:
        yield
    finally:
        local_servers.pop(prefix, None)
