"""Events that another program wrote, and that clients could not read."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import orjson
import psycopg
import pytest

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.model.event import Event
from realtime_bridge.model.reset import Reset
from realtime_bridge.testing.contracts.samples import new_channel, numbered
from realtime_bridge_backends.postgres import PostgresBackend
from realtime_bridge_backends.redis import RedisBackend
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

TIMEOUT = 10.0
SOON = 1.0
"""The longest that events of other channels may take after an unreadable one."""

Stream = AsyncIterator[Sequence[Event] | FeedInterrupted]


async def receive(stream: Stream, channel: str, seconds: float = TIMEOUT) -> Event:
    """Return the next event of a channel."""
    async with asyncio.timeout(seconds):
        while True:
            turn = await anext(stream)
            for event in [] if isinstance(turn, FeedInterrupted) else turn:
                if event.channel == channel:
                    return event


async def next_gap(stream: Stream) -> FeedInterrupted:
    async with asyncio.timeout(TIMEOUT):
        while not isinstance(turn := await anext(stream), FeedInterrupted):
            pass
    return turn


def frame(channel: str, **changes: object) -> bytes:
    fields = {
        "type": "event",
        "channel": channel,
        "event": "job.step",
        "id": "1",
        "epoch": "abcdefgh",
        "offset": 1,
        "time": 1,
        "data": 1,
    }
    return orjson.dumps(fields | changes)


def message(text: bytes) -> bytes:
    return b"%d:%b" % (len(text), text)


GARBAGE: dict[str, Callable[[str], bytes]] = {
    "no JSON": lambda _: b"hello",
    "empty": lambda _: b"0:",
    "not a number": lambda _: b"x:{}",
    "short": lambda channel: message(frame(channel))[:-1],
    "an array": lambda _: message(b"[1,2,3]"),
    "no fields": lambda _: message(b"{}"),
    "no position": lambda channel: message(frame(channel, epoch=7)),
    "odd id": lambda channel: message(frame(channel, id="order\t7")),
    "control character in the name": lambda channel: message(frame(channel, event="a\u0007")),
    "other channel": lambda _: message(frame("elsewhere")),
    "half a surrogate": lambda channel: message(
        frame(channel).replace(b'"data":1', b'"data":"\\ud800"')
    ),
    "data is no JSON": lambda channel: message(frame(channel).replace(b'"data":1', b'"data":{')),
    "not UTF-8": lambda channel: message(frame(channel).replace(b"job.step", b"\xff")),
}


class TestRedis:
    @pytest.mark.parametrize("kind", GARBAGE)
    async def test_garbage_interrupts_its_channel_alone(
        self, redis_server: RedisServer, caplog: pytest.LogCaptureFixture, kind: str
    ) -> None:
        channel, other = new_channel(), new_channel()
        async with RedisBackend(redis_server.url) as log, log.listen() as listener:
            await listener.subscribe([channel, other])
            stream = aiter(listener)
            with redis_server.client() as client:
                assert client.publish(f"realtime:{{{channel}}}", GARBAGE[kind](channel)) == 1
            assert await next_gap(stream) == FeedInterrupted(channel)
            await log.append(numbered(other, 1))
            assert (await receive(stream, other, SOON)).data == {"step": 1}
            await log.append(numbered(channel, 1))
            assert (await receive(stream, channel, SOON)).data == {"step": 1}
        (line,) = caplog.messages
        assert f"unreadable event skipped channel={channel} count=1" in line

    async def test_body_with_newlines_is_one_event(self, redis_server: RedisServer) -> None:
        channel = new_channel()
        event = Event.from_trusted(
            channel, "job.step", b'{\n"a":\r\n1}', id="1", key="k", source=None, time=None,
            position=None,
        )  # fmt: skip
        async with RedisBackend(redis_server.url) as log, log.listen() as listener:
            await listener.subscribe([channel])
            await log.append([event, *numbered(channel, 1)])
            received = await receive(aiter(listener), channel)
            (stored,) = (await log.latest(channel)).events
        assert received.data == stored.data == {"a": 1}
        assert not {b"\n", b"\r"} & set(received.body)

    async def test_unreadable_stored_event_resets_its_readers(
        self, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        channel = new_channel()
        async with RedisBackend(redis_server.url) as log:
            first, second = await log.append(numbered(channel, 2))
            assert first.position
            key = f"realtime:{{{channel}}}:events"
            with redis_server.client() as client:
                client.xdel(key, "2-0")
                client.xadd(key, {"i": second.id, "n": "1", "f": "{"}, id="2-1")
            answer = await log.read(channel, first.position)
            again = await log.read(channel, first.position)
        assert isinstance(answer, Reset)
        assert answer.top == second.position
        assert again == answer
        assert "unreadable event skipped" in caplog.text
        assert len(caplog.records) == 1


ODD_ROWS = {
    "id with a tab": {"id": "order\t7"},
    "body that is no JSON": {"body": "{"},
    "half a surrogate": {"body": r'{"a":"\ud800"}'},
    "control character in the name": {"event": "a\u0007"},
    "key with a newline": {"key": "a\nb"},
}


def drop_checks(connection: psycopg.Connection) -> None:
    """Remove the checks of the tables: a superuser's import, or an older version, has none."""
    query = """
        SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)
        FROM pg_constraint WHERE contype = 'c' AND conrelid::regclass::text LIKE 'realtime.%'
    """
    for (statement,) in connection.execute(query).fetchall():
        connection.execute(statement)


def insert(connection: psycopg.Connection, channel: str, **fields: str) -> None:
    """Write a row into the outbox by SQL, without this library's checks."""
    row = {"channel": channel, "event": "job.step", "body": "1", **fields}
    columns, values = ", ".join(row), ", ".join(["%s"] * len(row))
    statement = f"INSERT INTO realtime.outbox ({columns}) VALUES ({values})"
    connection.execute(statement, list(row.values()))


class TestPostgres:
    @pytest.fixture
    def url(self, postgres_server: PostgresServer) -> str:
        return postgres_server.database()

    @pytest.fixture
    def database(self, url: str) -> Iterator[psycopg.Connection]:
        with psycopg.connect(url, autocommit=True) as connection:
            drop_checks(connection)
            yield connection

    @pytest.mark.parametrize("kind", ODD_ROWS)
    async def test_odd_row_interrupts_its_channel_alone(
        self,
        url: str,
        database: psycopg.Connection,
        caplog: pytest.LogCaptureFixture,
        kind: str,
    ) -> None:
        channel, other = new_channel(), new_channel()
        async with PostgresBackend(url) as log, log.listen() as listener:
            await listener.subscribe([channel, other])
            (before, *_) = (await log.positions([channel])).values()
            stream = aiter(listener)
            insert(database, channel, **ODD_ROWS[kind])
            assert await next_gap(stream) == FeedInterrupted(channel)
            insert(database, other)
            assert (await receive(stream, other, SOON)).data == 1
            insert(database, channel, body="2")
            assert (await receive(stream, channel, SOON)).data == 2
            answer = await log.read(channel, before)
            tops = await log.positions([channel, other])
        assert isinstance(answer, Reset)
        assert answer.reason == "truncated"
        assert (tops[channel].offset, tops[other].offset) == (2, 1)
        assert caplog.text.count("unreadable event skipped") == 1

    async def test_odd_id_at_the_top_leaves_positions_readable(
        self, url: str, database: psycopg.Connection
    ) -> None:
        insert(database, "job.7", id="order\t7")
        async with PostgresBackend(url) as log:
            top = (await log.positions(["job.7"]))["job.7"]
        assert (top.offset, top.id) == (1, None)

    async def test_latest_skips_an_unreadable_event(
        self, url: str, database: psycopg.Connection
    ) -> None:
        insert(database, "job.7", key="a", body="{")
        insert(database, "job.7", key="b", body="2")
        async with PostgresBackend(url) as log:
            page = await log.latest("job.7")
        assert [event.key for event in page.events] == ["b"]
