"""PostgreSQL backend: events of a transaction exist exactly if the transaction commits."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from realtime_bridge import (
    BlockingBroadcaster,
    Broadcaster,
    ConfigurationError,
    Event,
    InvalidEventError,
)
from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.testing.contracts.samples import TRACEPARENT
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.postgres import PostgresBackend
from tests.services.postgres import PostgresServer

TIMEOUT = 30.0


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.database()


@pytest.fixture
async def log(url: str) -> AsyncIterator[PostgresBackend]:
    async with PostgresBackend(url) as backend:
        yield backend


@pytest.fixture
def broadcaster(log: PostgresBackend) -> Broadcaster:
    return Broadcaster(log=log)


@pytest.fixture
def blocking(url: str) -> Iterator[BlockingBroadcaster]:
    with BlockingBroadcaster(lambda: Broadcaster(log=PostgresBackend(url))) as broadcaster:
        yield broadcaster


async def events_of(log: PostgresBackend, channel: str) -> list[Event]:
    top = (await log.positions([channel]))[channel]
    events: list[Event] = []
    while len(events) < top.offset:
        page = await log.read(channel, Position(top.epoch, len(events)))
        assert isinstance(page, Page)
        events += page.events
    return events


async def data_of(log: PostgresBackend, channel: str = "job.7") -> list[object]:
    return [event.data for event in await events_of(log, channel)]


async def test_event_appears_at_commit(
    log: PostgresBackend, broadcaster: Broadcaster, url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        receipt = await broadcaster.publish("job.7", "job.step", 1, transaction=connection)
        assert receipt.position is None
        assert await data_of(log) == []
        await connection.commit()
        assert await data_of(log) == [1]


async def test_rolled_back_event_takes_no_offset(
    log: PostgresBackend, broadcaster: Broadcaster, url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await broadcaster.publish("job.7", "job.step", 1, transaction=connection)
        await connection.rollback()
        await broadcaster.publish("job.7", "job.step", 2, transaction=connection)
        await connection.commit()
    (event,) = await events_of(log, "job.7")
    assert (event.data, event.position and event.position.offset) == (2, 1)


async def test_rolled_back_savepoint_drops_its_events(
    log: PostgresBackend, broadcaster: Broadcaster, url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await broadcaster.publish("job.7", "job.step", 1, transaction=connection)
        async with connection.transaction():
            await broadcaster.publish("job.7", "job.step", 2, transaction=connection)
            raise psycopg.Rollback
        async with connection.transaction():
            await broadcaster.publish("job.7", "job.step", 3, transaction=connection)
        await connection.commit()
    assert await data_of(log) == [1, 3]


async def test_listener_receives_event_at_commit(
    log: PostgresBackend, broadcaster: Broadcaster, url: str
) -> None:
    async with log.listen() as listener, asyncio.timeout(TIMEOUT):
        await listener.subscribe(["job.7"])
        async with await psycopg.AsyncConnection.connect(url) as connection:
            await broadcaster.publish(
                "job.7", "job.step", {"a": "ü"}, key="k", source="c_1", transaction=connection
            )
        turn = await anext(aiter(listener))
    assert not isinstance(turn, FeedInterrupted)
    (event,) = turn
    assert (event.data, event.key, event.source) == ({"a": "ü"}, "k", "c_1")
    assert [event.key for event in (await log.latest("job.7")).events] == ["k"]


async def test_trace_context_of_a_transaction_is_checked_at_commit(
    log: PostgresBackend, broadcaster: Broadcaster, url: str
) -> None:
    traced = Event(channel="job.7", event="job.step", data=1, traceparent=TRACEPARENT)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await broadcaster.publish_many([traced], transaction=connection)
        columns, values = "(channel, event, traceparent)", "('job.7', 'job.step', %s)"
        insert = f"INSERT INTO realtime.outbox {columns} VALUES {values}"
        for traceparent in (TRACEPARENT, TRACEPARENT + "\n", TRACEPARENT.upper(), "x" * 10_000):
            await connection.execute(insert, [traceparent])
    traceparents = [event.traceparent for event in await events_of(log, "job.7")]
    assert traceparents == [TRACEPARENT, TRACEPARENT, None, None, None]


async def test_duplicate_id_is_not_appended_again(
    log: PostgresBackend, broadcaster: Broadcaster, url: str
) -> None:
    await broadcaster.publish("job.7", "job.step", "first", id="same")
    async with await psycopg.AsyncConnection.connect(url) as connection:
        for data in ("second", "third"):
            await broadcaster.publish("job.7", "job.step", data, id="same", transaction=connection)
        await broadcaster.publish("job.7", "job.step", "fourth", transaction=connection)
    assert await data_of(log) == ["first", "fourth"]


async def test_concurrent_commits_arrive_in_order(
    log: PostgresBackend, broadcaster: Broadcaster, url: str
) -> None:
    committed: dict[str, list[int]] = {f"job.{number}": [] for number in range(4)}

    async def work(number: int) -> None:
        async with await psycopg.AsyncConnection.connect(url) as connection:
            for n in range(number, 1_000, 8):
                channel = f"job.{n % 4}"
                await broadcaster.publish(channel, "job.step", n, transaction=connection)
                if n // 8 % 2:
                    await connection.rollback()
                else:
                    await connection.commit()
                    committed[channel].append(n)

    await asyncio.gather(*(work(number) for number in range(8)))
    for channel, expected in committed.items():
        events = await events_of(log, channel)
        assert sorted(event.data for event in events) == sorted(expected)
        assert [event.position and event.position.offset for event in events] == [
            *range(1, len(expected) + 1)
        ]
        for worker in range(8):
            own = [event.data for event in events if event.data % 8 == worker]
            assert own == sorted(own)


async def test_offsets_follow_the_order_of_commits(
    log: PostgresBackend, broadcaster: Broadcaster, url: str
) -> None:
    async with (
        await psycopg.AsyncConnection.connect(url) as slow,
        await psycopg.AsyncConnection.connect(url) as quick,
    ):
        await broadcaster.publish("job.7", "job.step", "written first", transaction=slow)
        await broadcaster.publish("job.7", "job.step", "committed first", transaction=quick)
        await quick.commit()
        await slow.commit()
    assert await data_of(log) == ["committed first", "written first"]


async def test_open_transaction_does_not_block_publishers(
    log: PostgresBackend, broadcaster: Broadcaster, url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(url) as long:
        await broadcaster.publish("job.7", "job.step", "long", transaction=long)
        async with asyncio.timeout(TIMEOUT / 3):
            for n in range(3):
                await broadcaster.publish("job.7", "job.step", n)
        await long.commit()
    assert await data_of(log) == [0, 1, 2, "long"]


async def test_opposite_channel_orders_do_not_deadlock(
    log: PostgresBackend, broadcaster: Broadcaster, url: str
) -> None:
    async def work(channels: tuple[str, ...]) -> None:
        async with await psycopg.AsyncConnection.connect(url) as connection:
            for n in range(50):
                for channel in channels:
                    await broadcaster.publish(channel, "job.step", n, transaction=connection)
                await connection.commit()

    async with asyncio.timeout(TIMEOUT):
        await asyncio.gather(work(("a", "b", "c")), work(("c", "b", "a")), work(("b", "c", "a")))
    assert {len(await data_of(log, channel)) for channel in "abc"} == {150}


async def test_sqlalchemy_session_can_own_the_transaction(
    log: PostgresBackend, broadcaster: Broadcaster, url: str
) -> None:
    engine = create_async_engine(url.replace("postgresql", "postgresql+psycopg"))
    async with AsyncSession(engine) as session:
        await broadcaster.publish("job.7", "job.step", 1, transaction=session)
        await session.commit()
        await broadcaster.publish("job.7", "job.step", 2, transaction=session)
        await session.rollback()
    async with engine.begin() as connection:
        await broadcaster.publish("job.7", "job.step", 3, transaction=connection)
    await engine.dispose()
    assert await data_of(log) == [1, 3]


async def test_async_scoped_session_can_own_the_transaction(
    log: PostgresBackend, broadcaster: Broadcaster, url: str
) -> None:
    engine = create_async_engine(url.replace("postgresql", "postgresql+psycopg"))
    scope = async_scoped_session(async_sessionmaker(engine), scopefunc=asyncio.current_task)
    await broadcaster.publish("job.7", "job.step", 1, transaction=scope)
    await scope.commit()
    await broadcaster.publish("job.7", "job.step", 2, transaction=scope)
    await scope.rollback()
    await scope.remove()
    await engine.dispose()
    assert await data_of(log) == [1]


EMOJI = {"smile": "😀", "text": 'ü "\\'}


@pytest.mark.parametrize("encoding", ["latin1", "sql_ascii", "utf8"])
async def test_connection_with_another_encoding_writes_all_of_unicode(
    log: PostgresBackend, broadcaster: Broadcaster, url: str, encoding: str
) -> None:
    address = f"{url}?client_encoding={encoding}"
    async with await psycopg.AsyncConnection.connect(address) as connection:
        await broadcaster.publish("job.7", "job.step", EMOJI, transaction=connection)
    assert await data_of(log) == [EMOJI]


async def test_session_with_another_encoding_writes_all_of_unicode(
    log: PostgresBackend, broadcaster: Broadcaster, url: str
) -> None:
    address = f"{url}?client_encoding=latin1"
    engine = create_async_engine(address.replace("postgresql", "postgresql+psycopg"))
    async with AsyncSession(engine) as session:
        await broadcaster.publish("job.7", "job.step", EMOJI, transaction=session)
        await session.commit()
    await engine.dispose()
    assert await data_of(log) == [EMOJI]


async def test_name_that_a_connection_cannot_encode_is_refused(
    broadcaster: Broadcaster, url: str
) -> None:
    address = f"{url}?client_encoding=latin1"
    async with await psycopg.AsyncConnection.connect(address) as connection:
        with pytest.raises(InvalidEventError, match="connect with client_encoding=utf8"):
            await broadcaster.publish("job.7", "job.step", key="😀", transaction=connection)


async def test_address_with_another_encoding_reads_and_writes_unicode(url: str) -> None:
    async with PostgresBackend(f"{url}?client_encoding=latin1") as log:
        await Broadcaster(log=log).publish("job.7", "job.step", EMOJI, key="😀")
        assert await data_of(log) == [EMOJI]


class TestWithoutAsync:
    async def test_event_is_written_in_the_callers_thread(
        self, log: PostgresBackend, blocking: BlockingBroadcaster, url: str
    ) -> None:
        threads = threading.active_count()
        with psycopg.connect(url) as connection:
            blocking.publish("job.7", "job.step", 1, transaction=connection)
            assert threading.active_count() == threads
        assert await data_of(log) == [1]

    async def test_sqlalchemy_session_can_own_the_transaction(
        self, log: PostgresBackend, blocking: BlockingBroadcaster, url: str
    ) -> None:
        engine = create_engine(url.replace("postgresql", "postgresql+psycopg"))
        with Session(engine) as session, session.begin():
            blocking.publish("job.7", "job.step", 1, transaction=session)
        with engine.begin() as connection:
            blocking.publish("job.7", "job.step", 2, transaction=connection)
        engine.dispose()
        assert await data_of(log) == [1, 2]

    async def test_scoped_session_can_own_the_transaction(
        self, log: PostgresBackend, blocking: BlockingBroadcaster, url: str
    ) -> None:
        engine = create_engine(url.replace("postgresql", "postgresql+psycopg"))
        scope = scoped_session(sessionmaker(engine))  # `db.session` of Flask-SQLAlchemy is one
        blocking.publish("job.7", "job.step", 1, transaction=scope)
        scope.commit()
        blocking.publish("job.7", "job.step", 2, transaction=scope)
        scope.rollback()
        scope.remove()
        engine.dispose()
        assert await data_of(log) == [1]

    async def test_async_transaction_is_rejected(
        self, blocking: BlockingBroadcaster, url: str
    ) -> None:
        async with await psycopg.AsyncConnection.connect(url) as connection:
            with pytest.raises(ConfigurationError, match="use Broadcaster"):
                blocking.publish("job.7", "job.step", 1, transaction=connection)


async def test_unsupported_connection_is_rejected(broadcaster: Broadcaster) -> None:
    with pytest.raises(ConfigurationError, match=r"builtins\.dict"):
        await broadcaster.publish("job.7", "job.step", 1, transaction={})


async def test_log_outside_the_database_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="set REALTIME_LOG to a log in your database"):
        await Broadcaster(log=MemoryBackend()).publish("a", "job.step", transaction=object())
