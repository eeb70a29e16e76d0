"""Events of a job, read from the log."""

import asyncio
from collections.abc import Sequence
from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge_backends.redis import RedisBackend

TIMEOUT = 60.0


async def wait_for_state(log: RedisBackend, channel: str, end: str, times: int = 1) -> list[str]:
    """Wait until a job was so many times in the state `end`, and return all its states."""
    async with log.listen() as listener, asyncio.timeout(TIMEOUT):
        await listener.subscribe([channel])
        turns = aiter(listener)
        while (states := await current_states(log, channel)).count(end) < times:
            await anext(turns)
    return states


async def wait_until_lost(log: RedisBackend, channel: str) -> list[str]:
    """Read a job until the log shows it as lost, and return all its states."""
    async with asyncio.timeout(TIMEOUT):
        # No event wakes a waiter: it is a read that ends a lease which has run out.
        while "lost" not in (states := await current_states(log, channel)):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    return states


async def current_states(log: RedisBackend, channel: str) -> list[str]:
    """Return the states on a channel so far."""
    return [event.event.removeprefix("job.") for event in await _events(log, channel)]


async def state_data(log: RedisBackend, channel: str, state: str) -> dict[str, Any]:
    """Return the data of the first event of a state."""
    return next(event.data for event in await _events(log, channel) if event.event.endswith(state))


async def attempts(log: RedisBackend, channel: str) -> list[str | None]:
    """Return the names of the runs that started, in order."""
    return [event.attempt for event in await _events(log, channel) if event.event == "job.started"]


async def all_data(log: RedisBackend, channel: str) -> list[dict[str, Any]]:
    """Return the data of all events on a channel so far."""
    return [event.data for event in await _events(log, channel)]


async def _events(log: RedisBackend, channel: str) -> Sequence[Event]:
    top = (await log.positions([channel]))[channel]
    page = await log.read(channel, Position(top.epoch, 0))
    assert isinstance(page, Page)
    return page.events
