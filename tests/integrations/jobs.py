"""What was told of a job, read from the log."""

import asyncio
from collections.abc import Sequence
from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge_backends.redis import RedisBackend

TIMEOUT = 30.0


async def states(log: RedisBackend, channel: str, end: str) -> list[str]:
    """Wait until a job's `end` was told, and return all that was."""
    async with log.listen() as listener, asyncio.timeout(TIMEOUT):
        await listener.subscribe([channel])
        heard = aiter(listener)
        while end not in (told := await told_on(log, channel)):
            await anext(heard)
    return told


async def told_on(log: RedisBackend, channel: str) -> list[str]:
    """Return what was told on a channel so far."""
    return [event.event.removeprefix("job.") for event in await _events(log, channel)]


async def told_with(log: RedisBackend, channel: str, state: str) -> dict[str, Any]:
    """Return the data that was told with a state."""
    return next(event.data for event in await _events(log, channel) if event.event.endswith(state))


async def _events(log: RedisBackend, channel: str) -> Sequence[Event]:
    top = (await log.positions([channel]))[channel]
    page = await log.read(channel, Position(top.epoch, 0))
    assert isinstance(page, Page)
    return page.events
