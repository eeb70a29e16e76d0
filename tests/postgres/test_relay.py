"""Relay from PostgreSQL to another backend: all events arrive, in order."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
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
from realtime_bridge.postgres.errors import DatabaseError
from realtime_bridge.postgres.relay import Relay, RelayState, discard_pending
from realtime_bridge.postgres.relay_timing import RelayTiming
from realtime_bridge.testing import FaultyProxy
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.null import NullBackend
from realtime_bridge_backends.postgres import PostgresBackend
from tests.services.postgres import PostgresServer

TIMEOUT = 30.0
WRITE = "INSERT INTO realtime.outbox (channel, event, body, key) VALUES (%s, 'job.step', %s, %s)"


class Target(MemoryBackend):
    """Log that rejects some events, for now or for good."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: dict[str, PublishError] = {}
        """Errors by the event's data, as JSON."""
        self.events: dict[str, list[object]] = defaultdict(list)
        """Data of the appended events, by channel."""
        self._changed = asyncio.Condition()

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        for event in events:
            if failure := self.failures.get(event.body.decode()):
                raise failure
        receipts = await super().append(events)
        for event, receipt in zip(events, receipts, strict=True):
            if not receipt.duplicate:
                self.events[event.channel].append(event.data)
        async with self._changed:
            self._changed.notify_all()
        return receipts

    async def wait_for_events(self, channel: str, count: int) -> list[object]:
        """Wait until a channel has so many events, and return their data."""
        async with asyncio.timeout(TIMEOUT), self._changed:
            await self._changed.wait_for(lambda: len(self.events[channel]) >= count)
        return self.events[channel]


@asynccontextmanager
async def running_relay(
    url: str, target: MemoryBackend | Broadcaster, timing: RelayTiming | None = None
) -> AsyncGenerator[tuple[Relay, asyncio.Event]]:
    """Run a relay; the event is set once it is active."""
    active = asyncio.Event()

    def on_change(state: RelayState) -> None:
        if state == "active":
            active.set()

    broadcaster = target if isinstance(target, Broadcaster) else Broadcaster(log=target)
    timing = timing or RelayTiming(standby_seconds=0.02)
    relay = Relay(url, "realtime", broadcaster, on_change=on_change, timing=timing)
    task = asyncio.create_task(relay.run())
    try:
        yield relay, active
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_committed_event_is_relayed_with_id_and_key(
    url: str, database: psycopg.Connection
) -> None:
    target = Target()
    async with running_relay(url, target) as (_, active):
        await active.wait()
        database.execute(WRITE, ["job.7", '{"a": 1}', "k"])
        assert await target.wait_for_events("job.7", 1) == [{"a": 1}]
        # The relay forgets an event after the target has it.
        async with asyncio.timeout(TIMEOUT):
            while database.execute("SELECT * FROM realtime.relay_queue").fetchall():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    (event,) = (await target.latest("job.7")).events
    (event_id,) = database.execute("SELECT id FROM realtime.events").fetchone() or ()
    assert (event.id, event.key) == (event_id, "k")


async def test_backlog_is_relayed_in_order_per_channel(
    url: str, database: psycopg.Connection
) -> None:
    database.execute("UPDATE realtime.settings SET relay_enabled = true")
    rows = "SELECT 'job.' || n % 3, 'job.step', n::text FROM generate_series(0, 1499) AS n"
    database.execute(f"INSERT INTO realtime.outbox (channel, event, body) {rows}")
    target = Target()
    async with running_relay(url, target):
        for channel in range(3):
            assert await target.wait_for_events(f"job.{channel}", 500) == [
                *range(channel, 1_500, 3)
            ]


async def test_relay_over_silent_link_reconnects(
    server: PostgresServer, url: str, database: psycopg.Connection
) -> None:
    target = Target()
    timing = RelayTiming(standby_seconds=0.02, idle_seconds=0.2, answer_seconds=0.3)
    async with FaultyProxy(server.port) as proxy:
        address = proxy.url.replace("http://", "postgresql://postgres@")
        near = f"{address}/{url.rpartition('/')[2]}"
        async with running_relay(near, target, timing) as (_, active):
            await active.wait()
            accepted = proxy.accepted
            proxy.swallow()
            database.execute(WRITE, ["job.7", "1", None])
            async with asyncio.timeout(TIMEOUT):
                await proxy.until(lambda: proxy.accepted > accepted)
            proxy.heal()
            assert await target.wait_for_events("job.7", 1) == [1]


async def test_push_without_answer_is_tried_again(url: str, database: psycopg.Connection) -> None:
    class Silent(NullBackend):
        def __init__(self) -> None:
            self.pushes: list[object] = []
            self.pushed_twice = asyncio.Event()

        async def push(self, events: Sequence[Event]) -> None:
            self.pushes += [event.data for event in events]
            if len(self.pushes) >= 3:
                self.pushed_twice.set()
            else:
                await asyncio.Event().wait()

    backend = Silent()
    timing = RelayTiming(standby_seconds=0.02, push_seconds=0.1)
    broadcaster = Broadcaster(log=PostgresBackend(url), backend=backend)
    async with running_relay(url, broadcaster, timing) as (relay, active):
        await active.wait()
        database.execute(WRITE, ["job.7", "1", None])
        async with asyncio.timeout(TIMEOUT):
            await backend.pushed_twice.wait()
        assert relay.dropped_events == 0


async def test_event_beyond_history_stays_until_relayed(
    url: str, database: psycopg.Connection
) -> None:
    database.execute("UPDATE realtime.settings SET relay_enabled = true, history_events = 10")
    for n in range(200):
        database.execute(WRITE, ["job.7", str(n), None])
    target = Target()
    async with running_relay(url, target):
        assert await target.wait_for_events("job.7", 200) == [*range(200)]


async def test_rejected_event_is_dropped_and_logged(
    url: str, database: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    target = Target()
    target.failures["2"] = PublishError("it cannot be")
    async with running_relay(url, target) as (relay, active):
        await active.wait()
        for n in range(4):
            database.execute(WRITE, ["job.7", str(n), None])
        assert await target.wait_for_events("job.7", 3) == [0, 1, 3]
        assert relay.dropped_events == 1
    assert "event dropped: channel=job.7 event=job.step error=it cannot be" in caplog.text


async def test_unreadable_row_is_skipped_and_resets_its_channel(
    url: str, database: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    database.execute("ALTER TABLE realtime.events DROP CONSTRAINT IF EXISTS events_body_check")
    target = Target()
    (before,) = (await target.positions(["job.7"])).values()
    async with running_relay(url, target) as (relay, active):
        await active.wait()
        database.execute(WRITE, ["job.7", "1", None])
        await target.wait_for_events("job.7", 1)
        with database.transaction():
            # Rows of an older version, which had no checks.
            database.execute("SET LOCAL session_replication_role = replica")
            database.execute(
                'INSERT INTO realtime.events (channel, epoch, "offset", "time", id, event, body)'
                " SELECT channel, epoch, 2, 1, E'order\\t7', 'job.step', '{'"
                " FROM realtime.channels WHERE channel = 'job.7'"
            )
            database.execute("UPDATE realtime.channels SET top = 2 WHERE channel = 'job.7'")
            database.execute("INSERT INTO realtime.relay_queue VALUES ('job.7', 2)")
        database.execute(WRITE, ["job.8", "8", None])
        database.execute(WRITE, ["job.7", "3", None])
        assert await target.wait_for_events("job.8", 1) == [8]
        assert await target.wait_for_events("job.7", 2) == [1, 3]
        assert relay.dropped_events == 1
    (after,) = (await target.positions(["job.7"])).values()
    assert after.epoch != before.epoch
    assert caplog.text.count("unreadable event skipped channel=job.7") == 1


async def test_retryable_failure_delays_its_channel_alone(
    url: str, database: psycopg.Connection
) -> None:
    target = Target()
    target.failures["0"] = BackendUnavailableError("not now")
    async with running_relay(url, target) as (_, active):
        await active.wait()
        with database.transaction():
            for channel in ("a", "b"):
                for n in range(3):
                    database.execute(WRITE, [channel, str(n if channel == "a" else 9), None])
        assert await target.wait_for_events("b", 3) == [9, 9, 9]
        assert target.events["a"] == []
        target.failures.clear()
        assert await target.wait_for_events("a", 3) == [0, 1, 2]


async def test_standby_relay_takes_over_after_a_lost_lock(
    url: str, database: psycopg.Connection
) -> None:
    target = Target()
    async with running_relay(url, target) as (_, first_active):
        await first_active.wait()
        async with running_relay(url, target) as (_, second_active):
            database.execute(WRITE, ["job.7", "1", None])
            assert await target.wait_for_events("job.7", 1) == [1]
            assert not second_active.is_set()
            database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
                "AND granted AND pid <> pg_backend_pid()"
            )
            async with asyncio.timeout(5):
                await second_active.wait()
            database.execute(WRITE, ["job.7", "2", None])
            assert await target.wait_for_events("job.7", 2) == [1, 2]


async def test_log_in_same_database_is_only_pushed(url: str, database: psycopg.Connection) -> None:
    pushed: asyncio.Queue[Event] = asyncio.Queue()

    class Pushing(NullBackend):
        async def push(self, events: Sequence[Event]) -> None:
            for event in events:
                pushed.put_nowait(event)

    async with PostgresBackend(url) as log:
        async with running_relay(url, Broadcaster(log=log, backend=Pushing())) as (_, active):
            await active.wait()
            database.execute(WRITE, ["job.7", "1", None])
            async with asyncio.timeout(TIMEOUT):
                event = await pushed.get()
        assert event.position == (await log.positions(["job.7"]))["job.7"]


async def test_pending_events_are_reported_and_discarded(
    url: str, database: psycopg.Connection
) -> None:
    database.execute("UPDATE realtime.settings SET relay_enabled = true")
    database.execute(WRITE, ["job.7", "1", None])
    async with PostgresBackend(url) as log:
        results = {result.check: result for result in await log.check()}
        assert results["postgres relay"].status == "warning"
        assert discard_pending(database, "realtime") == 1
        database.execute(WRITE, ["job.7", "2", None])
        results = {result.check: result for result in await log.check()}
    assert results["postgres relay"].detail == "0 events wait, no relay is active"


async def test_missing_schema_is_reported(server: PostgresServer) -> None:
    relay = Relay(server.url(), "realtime", Broadcaster(log=Target()))
    with pytest.raises(DatabaseError, match="realtime-bridge postgres install"):
        await relay.run()


async def test_relay_without_need_is_rejected(url: str) -> None:
    with pytest.raises(ConfigurationError, match="No relay is needed"):
        Relay(url, "realtime", Broadcaster(log=PostgresBackend(url)))
