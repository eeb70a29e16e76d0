"""Resets of connections: errors of any class are ours, and no acknowledged event is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from realtime_bridge import Broadcaster, PublishError
from realtime_bridge.backend.log import Log
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.testing import FaultyProxy
from realtime_bridge.testing.contracts.samples import new_channel, numbered
from realtime_bridge_backends.postgres import PostgresBackend
from realtime_bridge_backends.redis import RedisBackend
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

TIMEOUT = 30.0
PUBLISHES = 100
PARALLEL = 8

CreateLog = Callable[[int], Log]
"""Returns a log on the server at a port."""


@pytest.fixture(params=["redis", "postgres"])
def server(
    request: pytest.FixtureRequest, redis_server: RedisServer, postgres_server: PostgresServer
) -> tuple[int, CreateLog]:
    """Return a server's port, and a function that creates its log through another port."""
    if request.param == "redis":
        return redis_server.port, lambda port: RedisBackend(f"redis://127.0.0.1:{port}")
    url = postgres_server.database()
    return postgres_server.port, lambda port: PostgresBackend(
        url.replace(f":{postgres_server.port}/", f":{port}/")
    )


@pytest.fixture
async def proxy(server: tuple[int, CreateLog]) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy(server[0]) as proxy:
        yield proxy


def port_of(proxy: FaultyProxy) -> int:
    return int(proxy.url.rpartition(":")[2])


async def reset_again_and_again(proxy: FaultyProxy, times: int) -> None:
    """Reset open connections, and reject new ones for most of the time; then heal."""
    for _ in range(times):
        proxy.refuse()
        proxy.drop()
        await asyncio.sleep(0.1)
        proxy.heal()
        await asyncio.sleep(0.02)


async def test_publishes_under_resets_raise_only_publish_errors(
    server: tuple[int, CreateLog], proxy: FaultyProxy
) -> None:
    port, create = server
    channel = new_channel()
    async with Broadcaster(log=create(port_of(proxy))) as broadcaster:
        await broadcaster.publish(channel, "job.step", -1)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(reset_again_and_again(proxy, 15))
            publishes = [broadcaster.publish(channel, "job.step", n) for n in range(PUBLISHES)]
            outcomes = await asyncio.gather(*publishes, return_exceptions=True)
        # A busy machine may acknowledge none of them in time.
        outcomes.append(await broadcaster.publish(channel, "job.step", PUBLISHES))
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert not [failure for failure in failures if not isinstance(failure, PublishError)]
    async with create(port) as log:
        (top,) = (await log.positions([channel])).values()
        page = await log.read(channel, Position(top.epoch, 0))
    assert isinstance(page, Page)
    stored = {event.data for event in page.events}
    acknowledged = {n for n, outcome in enumerate(outcomes) if outcome not in failures}
    assert acknowledged <= stored


async def test_feed_under_resets_is_connected_again(
    server: tuple[int, CreateLog], proxy: FaultyProxy, caplog: pytest.LogCaptureFixture
) -> None:
    port, create = server
    channel = new_channel()
    near = create(port_of(proxy))
    assert isinstance(near, RedisBackend | PostgresBackend)
    async with near, create(port) as log, near.listen() as listener:
        await listener.subscribe([channel])
        stream = aiter(listener)
        async with asyncio.TaskGroup() as tasks:
            resetting = tasks.create_task(reset_again_and_again(proxy, 1_000))
            async with asyncio.timeout(TIMEOUT):
                await proxy.until(lambda: proxy.dropped + proxy.refused > 3)
            resetting.cancel()
        proxy.heal()
        async with asyncio.timeout(TIMEOUT):
            while "background work runs again work=feed" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await log.append(numbered(channel, 1))
        async with asyncio.timeout(TIMEOUT):
            while not isinstance(turn := await anext(stream), list):
                pass
    assert turn[0].data == {"step": 1}
    assert caplog.text.count("background work ended, restarting work=feed") <= 3


async def test_calls_after_a_reset_are_answered_over_new_connections(
    server: tuple[int, CreateLog], proxy: FaultyProxy
) -> None:
    channel = new_channel()
    async with server[1](port_of(proxy)) as log:
        await asyncio.gather(*(log.positions([channel]) for _ in range(PARALLEL)))
        proxy.drop()
        # After the end of this call, all resets have arrived; its own may interrupt it.
        with suppress(PublishError):
            await log.positions([channel])
        answers = await asyncio.gather(*(log.positions([channel]) for _ in range(PARALLEL)))
    assert answers == [answers[0]] * PARALLEL
