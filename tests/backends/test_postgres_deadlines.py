"""PostgreSQL backend: silent links, held locks, dead idle connections and restarts."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Literal

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from realtime_bridge import BackendUnavailableError, Broadcaster, Event, PublishError
from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.postgres.connection import network_options
from realtime_bridge.testing import FaultyProxy
from realtime_bridge.testing.contracts.samples import numbered
from realtime_bridge_backends.postgres import PostgresBackend, PostgresTiming
from tests.services.postgres import PostgresServer

TIMEOUT = 30.0
PUBLISH_SECONDS, RECEIVE_SECONDS = 5.0, 20.0
"""Limits of the specification."""

QUICK = PostgresTiming(call_seconds=0.5, check_seconds=0.2, wake_seconds=0.3, answer_seconds=0.3)


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.database()


@pytest.fixture
async def proxy(postgres_server: PostgresServer) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy(postgres_server.port) as proxy:
        yield proxy


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """Run a PostgreSQL that a test may stop."""
    with PostgresServer() as server:
        yield server


def through(proxy: FaultyProxy, url: str) -> str:
    """Return the address of a database through the proxy."""
    return f"{proxy.url.replace('http://', 'postgresql://postgres@')}/{url.rpartition('/')[2]}"


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Fail unless the block ends within a number of seconds, whatever it catches."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


async def receive_step(stream: AsyncIterator[Sequence[Event] | FeedInterrupted], step: int) -> None:
    """Wait until a listener receives a step."""
    while True:
        turn = await anext(stream)
        if not isinstance(turn, FeedInterrupted) and step in [event.data["step"] for event in turn]:
            return


@pytest.mark.parametrize("directions", [("up",), ("down",), ("up", "down")])
async def test_publish_over_silent_link_fails_in_time(
    proxy: FaultyProxy, url: str, directions: tuple[Literal["up", "down"], ...]
) -> None:
    async with Broadcaster(log=PostgresBackend(through(proxy, url))) as broadcaster:
        await broadcaster.publish("job.7", "job.step", 1)
        proxy.swallow(*directions)
        async with time_limit(PUBLISH_SECONDS + 0.5):
            with pytest.raises(BackendUnavailableError, match="Check that it runs"):
                await broadcaster.publish("job.7", "job.step", 2)
        proxy.heal()
        async with time_limit(PUBLISH_SECONDS):
            await broadcaster.publish("job.7", "job.step", 3)


@pytest.mark.parametrize("call", ["append", "read", "positions", "latest", "rotate", "generation"])
async def test_every_call_over_silent_link_has_a_deadline(
    proxy: FaultyProxy, url: str, call: str
) -> None:
    async with PostgresBackend(through(proxy, url), timing=QUICK) as log:
        top = (await log.positions(["job.7"]))["job.7"]
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "append": lambda: log.append(numbered("job.7", 1)),
            "read": lambda: log.read("job.7", top),
            "positions": lambda: log.positions(["job.7"]),
            "latest": lambda: log.latest("job.7"),
            "rotate": lambda: log.rotate_epoch("job.7", top.epoch),
            "generation": lambda: log.generation("a"),
        }
        proxy.swallow()
        async with time_limit(3):
            with pytest.raises(BackendUnavailableError, match=r"no answer within 0\.5 s"):
                await calls[call]()


async def test_calls_beyond_the_pool_have_a_deadline(proxy: FaultyProxy, url: str) -> None:
    async with PostgresBackend(through(proxy, url), timing=QUICK) as log:
        await log.positions(["job.7"])
        proxy.swallow()
        async with time_limit(3):
            results = await asyncio.gather(
                *(log.positions(["job.7"]) for _ in range(40)), return_exceptions=True
            )
        assert {type(result) for result in results} == {BackendUnavailableError}
        proxy.heal()
        assert "job.7" in await log.positions(["job.7"])


async def test_listener_over_silent_link_receives_again_in_time(
    proxy: FaultyProxy, url: str
) -> None:
    async with (
        PostgresBackend(url) as log,
        PostgresBackend(through(proxy, url)) as remote,
        remote.listen() as listener,
    ):
        await listener.subscribe(["job.7"])
        stream = aiter(listener)
        await log.append(numbered("job.7", 1))
        async with asyncio.timeout(TIMEOUT):
            await receive_step(stream, 1)
        accepted = proxy.accepted
        proxy.swallow()
        async with asyncio.timeout(RECEIVE_SECONDS):
            await log.append(numbered("job.7", 1, start=2))  # its notification is lost
            await proxy.until(lambda: proxy.accepted > accepted)
            proxy.heal()
            await receive_step(stream, 2)


async def test_subscribing_and_listening_over_silent_link_fail_in_time(
    proxy: FaultyProxy, url: str
) -> None:
    async with PostgresBackend(through(proxy, url), timing=QUICK) as log:
        async with log.listen() as listener:
            proxy.swallow()
            async with time_limit(3):
                with pytest.raises(PublishError):
                    await listener.subscribe(["job.7"])
        async with time_limit(3):
            with pytest.raises(PublishError):
                async with log.listen():
                    pass


async def test_check_over_silent_link_fails_in_time(proxy: FaultyProxy, url: str) -> None:
    proxy.swallow()
    async with time_limit(10):
        (result,) = await PostgresBackend(through(proxy, url)).check()
    assert result.status == "failed"


async def test_idle_connection_that_went_silent_is_replaced(proxy: FaultyProxy, url: str) -> None:
    timing = PostgresTiming(idle_seconds=0, check_seconds=0.2)
    async with PostgresBackend(through(proxy, url), timing=timing) as log:
        await log.append(numbered("job.7", 1))
        proxy.half_open()  # as a firewall that forgets an idle connection
        (receipt,) = await log.append(numbered("job.7", 1, start=2))
    assert receipt.position
    assert receipt.position.offset == 2


async def test_first_publish_after_restart_succeeds(own_server: PostgresServer) -> None:
    async with PostgresBackend(own_server.database()) as log:
        await asyncio.gather(*(log.append(numbered(f"job.{n}", 1)) for n in range(8)))
        await asyncio.to_thread(own_server.stop)
        await asyncio.to_thread(own_server.start)
        receipts = await asyncio.gather(
            *(log.append(numbered(f"job.{n}", 1, start=2)) for n in range(8))
        )
    assert [receipt.position and receipt.position.offset for (receipt,) in receipts] == [2] * 8


async def test_long_outage_does_not_delay_the_first_publish_after_it(
    own_server: PostgresServer,
) -> None:
    async with PostgresBackend(own_server.database()) as log:
        await log.append(numbered("job.7", 1))
        await asyncio.to_thread(own_server.stop)
        for _ in range(20):
            with pytest.raises(BackendUnavailableError):
                await log.append(numbered("job.7", 1, start=2))
        await asyncio.to_thread(own_server.start)
        await log.append(numbered("job.7", 1, start=2))


async def test_abandoned_statement_leaves_the_server(
    url: str, postgres_server: PostgresServer
) -> None:
    database = url.rpartition("/")[2]
    async with PostgresBackend(url, timing=QUICK) as log:
        await log.append(numbered("job.7", 1))
        with postgres_server.connect(database) as locking, locking.transaction():
            locking.execute("SELECT FROM realtime.channels FOR UPDATE")
            for _ in range(3):
                with suppress(PublishError):
                    await log.append(numbered("job.7", 1, start=2))
            with postgres_server.connect(database) as observing:
                await asyncio.to_thread(wait_for_no_waiting_statement, observing)


def wait_for_no_waiting_statement(connection: psycopg.Connection) -> None:
    """Wait until no statement waits for a lock in this database."""
    query = (
        "SELECT FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    deadline = time.monotonic() + TIMEOUT
    while connection.execute(query).rowcount:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_limits_in_the_url_have_priority() -> None:
    url = "postgresql://host/db?connect_timeout=30&tcp_user_timeout=1"
    assert conninfo_to_dict(url)["connect_timeout"] == "30"
    options = network_options(url, application_name="feed")
    assert "connect_timeout" not in options
    assert "tcp_user_timeout" not in options
    assert (options["keepalives_idle"], options["application_name"]) == (10, "feed")
