"""PostgreSQL backend: restarts, crashes, closed connections and configuration errors."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

import psycopg
import pytest
from psycopg import errors

from realtime_bridge import (
    BackendAuthError,
    BackendUnavailableError,
    Broadcaster,
    ConfigurationError,
    Event,
    PublishError,
)
from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.backend.unreadable import UnreadableEvents
from realtime_bridge.model.position import Position
from realtime_bridge.model.retention import Retention
from realtime_bridge.testing.contracts.samples import numbered
from realtime_bridge_backends.postgres import PostgresBackend
from realtime_bridge_backends.postgres.errors import to_publish_error
from realtime_bridge_backends.postgres.listener import PostgresListener
from realtime_bridge_backends.postgres.timing import PostgresTiming
from tests.services.postgres import PostgresServer

TIMEOUT = 30.0


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """Run a PostgreSQL that a test may stop."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.database()


@pytest.fixture
async def log(url: str) -> AsyncIterator[PostgresBackend]:
    async with PostgresBackend(url) as backend:
        yield backend


async def steps(stream: AsyncIterator[Sequence[Event] | FeedInterrupted], last: int) -> list[int]:
    """Return the steps that a listener receives up to `last`."""
    received: list[int] = []
    async with asyncio.timeout(TIMEOUT):
        while not received or received[-1] != last:
            turn = await anext(stream)
            received += (
                [] if isinstance(turn, FeedInterrupted) else [event.data["step"] for event in turn]
            )
    return received


async def test_terminated_listener_reconnects_without_a_gap(
    log: PostgresBackend, url: str, postgres_server: PostgresServer
) -> None:
    database = url.rpartition("/")[2]
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
        await append_step(log, 3)
        assert await steps(stream, 3) == [3]


async def append_step(log: PostgresBackend, step: int) -> None:
    """Append one step, and retry after a lost connection, as the broadcaster does."""
    async with asyncio.timeout(TIMEOUT):
        event = numbered("job.7", 1, start=step)
        while True:
            try:
                await log.append(event)
            except BackendUnavailableError:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.parametrize("action", ["stop", "kill"])
async def test_restarted_server_has_all_acknowledged_events(
    own_server: PostgresServer, action: str
) -> None:
    async with PostgresBackend(own_server.database()) as log, log.listen() as listener:
        await listener.subscribe(["job.7"])
        stream = aiter(listener)
        await append_step(log, 1)
        assert await steps(stream, 1) == [1]
        await asyncio.to_thread(getattr(own_server, action))
        with pytest.raises(BackendUnavailableError, match="Check that it runs"):
            await log.append(numbered("job.7", 1, start=2))
        await asyncio.to_thread(own_server.start)
        await append_step(log, 2)
        assert await steps(stream, 2) == [2]
        top = (await log.positions(["job.7"]))["job.7"]
        assert top.offset == 2


async def test_event_before_a_subscription_is_noted_is_below_the_top_read_after_it(
    url: str, log: PostgresBackend
) -> None:
    asked, answers = asyncio.Event(), asyncio.Event()

    async def positions(channels: Iterable[str]) -> dict[str, Position]:
        tops = await log.positions(names := list(channels))
        if "late" in names:
            asked.set()
            await answers.wait()
        return tops

    listener = PostgresListener(
        url,
        "realtime",
        positions=positions,
        server="the server",
        unreadable=UnreadableEvents("the server"),
        timing=PostgresTiming(),
    )
    async with listener, asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as tasks:
        await listener.subscribe(["other"])
        stream = aiter(listener)
        task = tasks.create_task(listener.subscribe(["late"]))
        await asked.wait()
        await log.append(numbered("late", 1))
        await log.append(numbered("other", 1, start=7))
        # The listener has read past the event, and its channel was not noted yet.
        assert await steps(stream, 7) == [7]
        answers.set()
        await task
        # The hub reads the tops after it has subscribed, so nothing is lost to it.
        assert (await log.positions(["late"]))["late"].offset == 1
        await log.append(numbered("late", 1, start=2))
        assert await steps(stream, 2) == [1, 2]


async def test_missing_schema_error_names_the_install_command(
    postgres_server: PostgresServer,
) -> None:
    async with PostgresBackend(postgres_server.url()) as log:
        with pytest.raises(PublishError, match="realtime-bridge postgres install") as caught:
            await log.append(numbered("job.7", 1))
    assert not caught.value.retryable


async def test_unknown_user_is_named_without_password(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.url().replace("postgres@", "unknown:hunter2@")
    async with PostgresBackend(url) as log:
        with pytest.raises(BackendAuthError, match="unknown") as caught:
            await log.append(numbered("job.7", 1))
    assert "hunter2" not in str(caught.value)


async def test_idle_channel_expires_after_its_retention(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.database()
    async with PostgresBackend(url, retention=Retention(seconds=0.001)) as log:
        await log.append(numbered("job.7", 3))
        with postgres_server.connect(url.rpartition("/")[2]) as connection:
            connection.execute("SELECT realtime.expire_channels(10)")
            (count,) = connection.execute("SELECT count(*) FROM realtime.events").fetchone() or ()
    assert count == 0


async def test_channel_that_is_read_keeps_its_epoch_without_an_event(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.database()
    async with PostgresBackend(url) as log:
        before = await log.positions(["job.7"])
        with postgres_server.connect(url.rpartition("/")[2]) as connection:
            for _ in range(2):
                connection.execute(
                    "UPDATE realtime.channels SET appended_at = appended_at - interval '6 minutes'"
                )
                assert await log.positions(["job.7"]) == before
                connection.execute("SELECT realtime.expire_channels(10)")
        assert await log.positions(["job.7"]) == before


async def test_prefix_with_capitals_and_dashes_works(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.database(prefix="My-App")
    async with PostgresBackend(url, prefix="My-App") as log, log.listen() as listener:
        await listener.subscribe(["job.7"])
        await log.append(numbered("job.7", 1))
        assert await steps(aiter(listener), 1) == [1]


@pytest.mark.parametrize(
    ("error", "kind", "hint"),
    [
        (errors.DiskFull("could not extend file"), PublishError, "free space there"),
        (errors.TooManyConnections("too many clients"), BackendUnavailableError, "Check that it"),
        (errors.DeadlockDetected("deadlock detected"), PublishError, "Try again"),
    ],
)
def test_error_of_the_server_has_a_hint_and_is_retryable(
    error: psycopg.Error, kind: type[PublishError], hint: str
) -> None:
    converted = to_publish_error(error, "PostgreSQL at db")
    assert type(converted) is kind
    assert hint in str(converted)
    assert converted.retryable


async def test_publish_before_the_broadcaster_is_entered_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="enter the broadcaster by `async with`"):
        await Broadcaster(log=PostgresBackend(url)).publish("job.7", "job.step")
