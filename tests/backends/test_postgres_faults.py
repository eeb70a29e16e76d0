"""PostgreSQL may restart, crash, or end the listener's connection: nothing is missed in silence."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from realtime_bridge import BackendAuthError, BackendUnavailableError, Event, PublishError
from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.model.retention import Retention
from realtime_bridge.testing.contracts.samples import numbered
from realtime_bridge_backends.postgres import PostgresBackend
from tests.services.postgres import PostgresServer

TIMEOUT = 30.0


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[PostgresServer]:
    """Run a PostgreSQL that may be stopped, and that writes what it commits."""
    with PostgresServer(tmp_path / "postgres") as server:
        yield server


@pytest.fixture
async def log(postgres_server: PostgresServer) -> AsyncIterator[PostgresBackend]:
    async with PostgresBackend(postgres_server.database()) as backend:
        yield backend


async def steps(stream: AsyncIterator[Sequence[Event] | FeedInterrupted], last: int) -> list[int]:
    """Take what is heard up to a step."""
    got: list[int] = []
    async with asyncio.timeout(TIMEOUT):
        while not got or got[-1] != last:
            turn = await anext(stream)
            got += (
                [] if isinstance(turn, FeedInterrupted) else [event.data["step"] for event in turn]
            )
    return got


async def test_a_listener_whose_connection_is_ended_hears_all_the_same(
    log: PostgresBackend, postgres_server: PostgresServer
) -> None:
    database = log._url.rpartition("/")[2]
    async with log.listen() as listener:
        await listener.subscribe(["job.7"])
        stream = aiter(listener)
        await log.append(numbered("job.7", 2))
        assert await steps(stream, 2) == [1, 2]
        with postgres_server.connect() as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [database],
            )
            assert ended.rowcount > 1
        await log_append(log, 3)
        assert await steps(stream, 3) == [3]


async def log_append(log: PostgresBackend, step: int) -> None:
    """Append one step, as the broadcaster does: again, where a connection was lost."""
    async with asyncio.timeout(TIMEOUT):
        event = numbered("job.7", 1, start=step)
        while True:
            try:
                await log.append(event)
            except BackendUnavailableError:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_a_server_that_goes_and_comes_back_has_all_that_it_acknowledged(
    own_server: PostgresServer, way: str
) -> None:
    async with PostgresBackend(own_server.database()) as log, log.listen() as listener:
        await listener.subscribe(["job.7"])
        stream = aiter(listener)
        await log_append(log, 1)
        assert await steps(stream, 1) == [1]
        await asyncio.to_thread(getattr(own_server, way))
        with pytest.raises(BackendUnavailableError, match="Check that it runs"):
            await log.append(numbered("job.7", 1, start=2))
        await asyncio.to_thread(own_server.start)
        await log_append(log, 2)
        assert await steps(stream, 2) == [2]
        top = (await log.positions(["job.7"]))["job.7"]
        assert top.offset == 2


async def test_a_database_without_the_schema_says_how_to_make_it(
    postgres_server: PostgresServer,
) -> None:
    async with PostgresBackend(postgres_server.url()) as log:
        with pytest.raises(PublishError, match="realtime-bridge postgres install") as caught:
            await log.append(numbered("job.7", 1))
    assert not caught.value.retryable


async def test_a_user_that_is_not_known_is_named_and_no_password(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.url().replace("postgres@", "nobody:hunter2@")
    async with PostgresBackend(url) as log:
        with pytest.raises(BackendAuthError, match="nobody") as caught:
            await log.append(numbered("job.7", 1))
    assert "hunter2" not in str(caught.value)


async def test_an_idle_channel_is_swept_when_it_has_outlived_its_time(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.database()
    async with PostgresBackend(url, retention=Retention(seconds=0.001)) as log:
        await log.append(numbered("job.7", 3))
        with postgres_server.connect(url.rpartition("/")[2]) as connection:
            connection.execute("SELECT realtime.sweep(10)")
            (left,) = connection.execute("SELECT count(*) FROM realtime.events").fetchone() or ()
    assert left == 0


async def test_a_prefix_with_capitals_and_dashes_is_a_schema_too(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.database(prefix="My-App")
    async with PostgresBackend(url, prefix="My-App") as log, log.listen() as listener:
        await listener.subscribe(["job.7"])
        await log.append(numbered("job.7", 1))
        assert await steps(aiter(listener), 1) == [1]
