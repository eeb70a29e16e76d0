"""What triggers and transactions wrote reaches another backend: all of it, and in order."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager

import psycopg
import pytest

from realtime_bridge import (
    BackendUnavailableError,
    Broadcaster,
    ConfigurationError,
    Event,
    PublishError,
    Receipt,
)
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.postgres import relay as module
from realtime_bridge.postgres.errors import DatabaseError
from realtime_bridge.postgres.relay import Relay, State, end
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.null import NullBackend
from realtime_bridge_backends.postgres import PostgresBackend
from tests.services.postgres import PostgresServer

TIMEOUT = 30.0
WRITE = "INSERT INTO realtime.outbox (channel, event, body, key) VALUES (%s, 'job.step', %s, %s)"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres"), "fsync=off") as server:
        yield server


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.database()


@pytest.fixture
def database(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


class Target(MemoryBackend):
    """A log that refuses some events, for now or for good."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses: dict[str, PublishError] = {}
        self.arrived = asyncio.Condition()

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        for event in events:
            if failure := self.refuses.get(event.body.decode()):
                raise failure
        receipts = await super().append(events)
        async with self.arrived:
            self.arrived.notify_all()
        return receipts

    async def has(self, channel: str, count: int) -> list[object]:
        """Wait until a channel has so many events, and return their data."""
        async with asyncio.timeout(TIMEOUT), self.arrived:
            await self.arrived.wait_for(lambda: self._current(channel).top.offset >= count)
        epoch = self._current(channel).top.epoch
        page = await self.read(channel, Position(epoch, 0))
        assert isinstance(page, Page)
        return [event.data for event in page.events]


@asynccontextmanager
async def relaying(
    url: str, target: MemoryBackend | Broadcaster
) -> AsyncGenerator[tuple[Relay, asyncio.Event]]:
    """Run a relay; the event is set while it works."""
    works = asyncio.Event()

    def note(state: State) -> None:
        if state == "working":
            works.set()

    broadcaster = target if isinstance(target, Broadcaster) else Broadcaster(log=target)
    relay = Relay(url, "realtime", broadcaster, on_change=note)
    running = asyncio.create_task(relay.run())
    try:
        yield relay, works
    finally:
        running.cancel()
        await asyncio.wait([running])


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STANDBY_SECONDS", 0.02)


async def test_what_is_committed_is_carried_with_its_id_and_key(
    url: str, database: psycopg.Connection
) -> None:
    target = Target()
    async with relaying(url, target) as (_, works):
        await works.wait()
        database.execute(WRITE, ["job.7", '{"a": 1}', "k"])
        assert await target.has("job.7", 1) == [{"a": 1}]
    (held,) = (await target.latest("job.7")).events
    (known,) = database.execute("SELECT id FROM realtime.events").fetchone() or ()
    assert (held.id, held.key) == (known, "k")
    assert database.execute("SELECT * FROM realtime.uncarried").fetchall() == []


async def test_a_backlog_is_carried_whole_and_in_order_per_channel(
    url: str, database: psycopg.Connection
) -> None:
    database.execute("UPDATE realtime.settings SET relayed = true")
    rows = "SELECT 'job.' || n % 3, 'job.step', n::text FROM generate_series(0, 1499) AS n"
    database.execute(f"INSERT INTO realtime.outbox (channel, event, body) {rows}")
    target = Target()
    async with relaying(url, target):
        for channel in range(3):
            assert await target.has(f"job.{channel}", 500) == [*range(channel, 1_500, 3)]


async def test_what_the_history_has_no_room_for_is_kept_until_it_was_carried(
    url: str, database: psycopg.Connection
) -> None:
    database.execute("UPDATE realtime.settings SET relayed = true, history_events = 10")
    for n in range(200):
        database.execute(WRITE, ["job.7", str(n), None])
    target = Target()
    async with relaying(url, target):
        assert await target.has("job.7", 200) == [*range(200)]


async def test_a_poisoned_event_stops_nobody_and_is_said(
    url: str, database: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    target = Target()
    target.refuses["2"] = PublishError("it cannot be")
    async with relaying(url, target) as (relay, works):
        await works.wait()
        for n in range(4):
            database.execute(WRITE, ["job.7", str(n), None])
        assert await target.has("job.7", 3) == [0, 1, 3]
        assert relay.given_up == 1
    assert "given up: it cannot be" in caplog.text


async def test_a_channel_that_is_refused_for_now_waits_and_the_others_do_not(
    url: str, database: psycopg.Connection
) -> None:
    target = Target()
    target.refuses["0"] = BackendUnavailableError("not now")
    async with relaying(url, target) as (_, works):
        await works.wait()
        with database.transaction():
            for channel in ("a", "b"):
                for n in range(3):
                    database.execute(WRITE, [channel, str(n if channel == "a" else 9), None])
        assert await target.has("b", 3) == [9, 9, 9]
        assert target._current("a").top.offset == 0
        target.refuses.clear()
        assert await target.has("a", 3) == [0, 1, 2]


async def test_of_two_relays_one_works_and_the_other_takes_over(
    url: str, database: psycopg.Connection
) -> None:
    target = Target()
    async with relaying(url, target) as (_, second_works):
        await second_works.wait()
        async with relaying(url, target) as (_, third_works):
            database.execute(WRITE, ["job.7", "1", None])
            assert await target.has("job.7", 1) == [1]
            assert not third_works.is_set()
            database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
                "AND granted AND pid <> pg_backend_pid()"
            )
            async with asyncio.timeout(5):
                await third_works.wait()
            database.execute(WRITE, ["job.7", "2", None])
            assert await target.has("job.7", 2) == [1, 2]


async def test_with_the_log_in_the_same_database_it_only_pushes(
    url: str, database: psycopg.Connection
) -> None:
    pushed: asyncio.Queue[Event] = asyncio.Queue()

    class Pushing(NullBackend):
        async def push(self, events: Sequence[Event]) -> None:
            for event in events:
                pushed.put_nowait(event)

    async with PostgresBackend(url) as log:
        async with relaying(url, Broadcaster(log=log, backend=Pushing())) as (_, works):
            await works.wait()
            database.execute(WRITE, ["job.7", "1", None])
            async with asyncio.timeout(TIMEOUT):
                event = await pushed.get()
        assert event.position == (await log.positions(["job.7"]))["job.7"]


async def test_what_waits_for_a_relay_is_said_and_let_go_when_there_is_none_any_more(
    url: str, database: psycopg.Connection
) -> None:
    database.execute("UPDATE realtime.settings SET relayed = true")
    database.execute(WRITE, ["job.7", "1", None])
    async with PostgresBackend(url) as log:
        found = {finding.check: finding for finding in await log.check()}
        assert found["postgres relay"].status == "warning"
        assert end(database, "realtime") == 1
        database.execute(WRITE, ["job.7", "2", None])
        found = {finding.check: finding for finding in await log.check()}
    assert found["postgres relay"].detail == "0 events wait for one, and none works"


async def test_a_database_without_the_log_is_refused_clearly(server: PostgresServer) -> None:
    relay = Relay(server.url(), "realtime", Broadcaster(log=Target()))
    with pytest.raises(DatabaseError, match="realtime-bridge postgres install"):
        await relay.run()


async def test_where_servers_hear_the_log_themselves_no_relay_is_needed(url: str) -> None:
    with pytest.raises(ConfigurationError, match="No relay is needed"):
        Relay(url, "realtime", Broadcaster(log=PostgresBackend(url)))
