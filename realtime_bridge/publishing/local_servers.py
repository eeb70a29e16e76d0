"""Servers that run in this process, by their prefix."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from realtime_bridge.backend.log import Log
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.event import Event
from realtime_bridge.model.fork import after_fork_in_child
from realtime_bridge.model.receipt import Receipt

T = TypeVar("T")


class BatchPublisher(Protocol):
    """Publisher of a server, in the server's event loop."""

    log: Log | None

    async def publish_many(self, events: Sequence[Event]) -> list[Receipt]:
        """Publish the events in order."""


class LocalServer(Struct, frozen=True):
    """Broadcaster of a server in this process, and the event loop that runs the server."""

    broadcaster: BatchPublisher
    loop: asyncio.AbstractEventLoop
    has_own_log: bool = False

    async def publish_many(self, batch: Sequence[Event]) -> list[Receipt]:
        """Publish through the server's broadcaster, from this loop or another."""
        return await self.run(self.broadcaster.publish_many(batch))

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work on the server's loop, to which the log belongs, from this loop or another."""
        if asyncio.get_running_loop() is self.loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))


_servers: dict[str, list[LocalServer]] = {}
"""Running servers of this process by their prefix, the latest last."""

# A forked child inherits the dictionary, but not the server's loop.
after_fork_in_child(_servers.clear)


def local_server(prefix: str | None) -> LocalServer | None:
    """Return the server of `prefix` in this process, if one runs; of several, the latest.

    Raises:
        ConfigurationError: several run, with logs of their own: one alone would get the events.

    """
    servers = _servers.get(prefix) if prefix is not None else None
    if not servers:
        return None
    if len(servers) > 1 and any(server.has_own_log for server in servers):
        raise ConfigurationError(
            f"{len(servers)} bridges with REALTIME_PREFIX={prefix} run in this process, each with "
            "its own log in memory: use one bridge, its own `publish`, or a prefix for each"
        )
    return servers[-1]


@contextmanager
def register_local_server(
    prefix: str, broadcaster: BatchPublisher, *, has_own_log: bool = False
) -> Iterator[None]:
    """Route the publishes of every broadcaster of `prefix` in this process through this one.

    Args:
        prefix: the application's prefix.
        broadcaster: the publisher of a server that runs in this event loop.
        has_own_log: whether the log belongs to this server alone.

    """
    server = LocalServer(broadcaster, asyncio.get_running_loop(), has_own_log)
    servers = _servers.setdefault(prefix, [])
    servers.append(server)
    try:
        yield
    finally:
        servers.remove(server)
        if not servers:
            _servers.pop(prefix, None)


@contextmanager
def without_local_servers() -> Iterator[None]:
    """Behave as a process of its own: know no server from before, and forget those from within."""
    before = dict(_servers)
    _servers.clear()
    try:
        yield
    finally:
        _servers.clear()
        _servers.update(before)
