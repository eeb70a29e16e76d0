"""Events of a job, read from the log."""

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from realtime_bridge.jobs.state import LEASE
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge_backends.redis import RedisBackend
from tests.backends.test_redis import shift_leases
from tests.services.redis import RedisServer

TIMEOUT = 60.0


async def wait_for_state(log: RedisBackend, channel: str, end: str, times: int = 1) -> list[str]:
    """Wait until a job was so many times in the state `end`, and return all its states."""
    async with log.listen() as listener, asyncio.timeout(TIMEOUT):
        await listener.subscribe([channel])
        turns = aiter(listener)
        while (states := await current_states(log, channel)).count(end) < times:
            await anext(turns)
    return states


async def wait_until_lost(server: RedisServer, log: RedisBackend, user: str) -> list[str]:
    """Wait for the end of the processes that a user's job kills, and for that of its lease.

    Returns:
        all states of the job.

    """
    async with asyncio.timeout(TIMEOUT), Redis.from_url(server.url, socket_timeout=None) as client:
        item = await client.blpop([f"killed-{user}"])
        assert item, "it waits without an end"
        for process in map(int, item[1].split()):
            await _wait_for_end(process)
        await shift_leases(client, f"user-{user}", LEASE)
    return await wait_for_state(log, f"user-{user}", "lost")


async def _wait_for_end(process: int) -> None:
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


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
