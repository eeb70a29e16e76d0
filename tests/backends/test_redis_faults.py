"""Redis backend: restarts, silence, full memory, lost scripts, failover and configuration."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
import trustme
from redis.asyncio import Redis

from realtime_bridge import (
    BackendAuthError,
    BackendUnavailableError,
    BlockingBroadcaster,
    Broadcaster,
    ConfigurationError,
    Event,
    PublishError,
)
from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.feed import FeedInterrupted, Listener
from realtime_bridge.backend.log import Log
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.testing import FaultyProxy
from realtime_bridge.testing.contracts.samples import new_channel, numbered
from realtime_bridge_backends.redis import RedisBackend, RedisTiming
from tests.cli.processes import run
from tests.services.redis import RedisPair, RedisServer

TIMEOUT = 30.0


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a durable Redis that a test may stop."""
    with RedisServer(tmp_path / "redis", "--save", "", "--appendonly", "yes") as server:
        yield server


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


async def wait_for_gap(stream: AsyncIterator[Sequence[Event] | FeedInterrupted]) -> None:
    """Wait until the feed reports a gap."""
    async with asyncio.timeout(TIMEOUT):
        while not isinstance(await anext(stream), FeedInterrupted):
            pass


async def wait_until_connected(listener: Listener) -> None:
    """Wait until the feed is connected: until then, no further channel can be subscribed."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            with suppress(PublishError):
                await listener.subscribe([new_channel()])
                return


async def append_step(log: Log, channel: str, step: int) -> Position:
    """Append one step, and retry while the log is unreachable."""
    event = numbered(channel, 1, start=step)
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                (receipt,) = await log.append(event)
            except BackendUnavailableError:
                await asyncio.sleep(0.05)
            else:
                assert receipt.position
                return receipt.position


async def test_restart_with_data_reports_a_gap_and_loses_nothing(
    own_server: RedisServer,
) -> None:
    async with RedisBackend(own_server.url) as log, log.listen() as listener:
        await listener.subscribe(["job.7"])
        stream = aiter(listener)
        before = await append_step(log, "job.7", 1)
        assert await steps(stream, 1) == [1]
        await asyncio.to_thread(own_server.stop)
        await wait_for_gap(stream)
        await asyncio.to_thread(own_server.start)
        await wait_until_connected(listener)
        after = await append_step(log, "job.7", 2)
        assert await steps(stream, 2) == [2]
    assert after == Position(before.epoch, 2)


async def test_restart_without_data_begins_new_epochs(own_server: RedisServer) -> None:
    async with RedisBackend(own_server.url) as log:
        before = await append_step(log, "job.7", 1)
        await asyncio.to_thread(own_server.stop)
        own_server.delete_data()
        await asyncio.to_thread(own_server.start)
        after = await append_step(log, "job.7", 2)
        assert after.epoch != before.epoch
        assert await log.read("job.7", before) == Reset(reason="epoch", top=after)


async def test_silent_subscription_is_detected_and_replaced(
    redis_server: RedisServer,
) -> None:
    timing = RedisTiming(ping_seconds=0.05, pong_seconds=0.2)
    channel = new_channel()
    async with (
        FaultyProxy(redis_server.port) as proxy,
        RedisBackend(proxy.url.replace("http", "redis"), timing=timing) as near,
        RedisBackend(redis_server.url) as log,
        near.listen() as listener,
    ):
        await listener.subscribe([channel])
        stream = aiter(listener)
        await log.append(numbered(channel, 1))
        assert await steps(stream, 1) == [1]
        proxy.swallow()
        await wait_for_gap(stream)
        proxy.heal()
        await wait_until_connected(listener)
        await log.append(numbered(channel, 1, start=2))
        assert await steps(stream, 2) == [2]


class TestDeadlines:
    @pytest.mark.parametrize("directions", [("up",), ("down",)])
    async def test_publish_over_silent_link_fails_in_time(
        self, redis_server: RedisServer, directions: tuple[Literal["up", "down"], ...]
    ) -> None:
        async with FaultyProxy(redis_server.port) as proxy:
            log = RedisBackend(proxy.url.replace("http", "redis"))
            async with Broadcaster(log=log) as broadcaster:
                await broadcaster.publish("job.7", "job.step", 1)
                proxy.swallow(*directions)
                start = time.monotonic()
                with pytest.raises(BackendUnavailableError, match=r"no answer within 4 s"):
                    await broadcaster.publish("job.7", "job.step", 2)
                assert time.monotonic() - start < 5.5
                proxy.heal()
                await broadcaster.publish("job.7", "job.step", 3)

    async def test_calls_beyond_the_pool_have_a_deadline(self, redis_server: RedisServer) -> None:
        async with FaultyProxy(redis_server.port) as proxy:
            url, timing = proxy.url.replace("http", "redis"), RedisTiming(call_seconds=0.5)
            async with RedisBackend(url, timing=timing) as log:
                await log.positions(["job.7"])
                proxy.swallow()
                async with asyncio.timeout(5):
                    results = await asyncio.gather(
                        *(log.positions(["job.7"]) for _ in range(100)), return_exceptions=True
                    )
                assert {type(result) for result in results} == {BackendUnavailableError}
                proxy.heal()
                assert "job.7" in await log.positions(["job.7"])

    async def test_check_over_silent_link_fails_in_time(self, redis_server: RedisServer) -> None:
        async with FaultyProxy(redis_server.port) as proxy:
            url, timing = proxy.url.replace("http", "redis"), RedisTiming(check_seconds=0.3)
            proxy.swallow("down")
            async with RedisBackend(url, timing=timing) as log, asyncio.timeout(3):
                (result,) = await log.check()
        assert result.status == "failed"

    async def test_listening_over_silent_link_fails_in_time(
        self, redis_server: RedisServer
    ) -> None:
        async with FaultyProxy(redis_server.port) as proxy:
            url = proxy.url.replace("http", "redis")
            timing = RedisTiming(subscribe_seconds=0.3, connect_seconds=0.2)
            proxy.swallow("down")
            async with RedisBackend(url, timing=timing) as log, asyncio.timeout(3):
                with pytest.raises(BackendUnavailableError):
                    async with log.listen() as listener:
                        await listener.subscribe(["job.7"])


async def test_script_that_fails_fails_its_batches_alone(redis_server: RedisServer) -> None:
    broken, whole = new_channel(), new_channel()
    async with Redis.from_url(redis_server.url) as client:
        await client.set(f"realtime:{{{broken}}}:meta", "no hash")
    batches = [numbered(whole, 1), numbered(broken, 1), numbered(whole, 2)]
    async with RedisBackend(redis_server.url) as log:
        first, failure, last = await log.append_joined(batches)
        assert isinstance(failure, PublishError)
        assert "WRONGTYPE" in str(failure)
        assert isinstance(first, list)
        assert isinstance(last, list)
        receipts = [*first, *last]
        assert [one.position and one.position.offset for one in receipts] == [1, 2, 3]
        with pytest.raises(PublishError, match="WRONGTYPE"):
            await log.append([event for batch in batches for event in batch])


async def test_flushed_script_is_loaded_again(own_server: RedisServer) -> None:
    async with RedisBackend(own_server.url) as log:
        await log.append(numbered("job.7", 1))
        with own_server.client() as client:
            client.function_flush()
        receipts = await asyncio.gather(
            *(log.append(numbered("job.7", 1, start=n)) for n in range(2, 20))
        )
    assert {receipt.duplicate for (receipt,) in receipts} == {False}


async def test_server_without_functions_runs_a_script(tmp_path: Path) -> None:
    without = ("--rename-command", "FCALL", "", "--save", "")
    with RedisServer(tmp_path / "old", *without) as server:
        async with RedisBackend(server.url) as log:
            await log.append(numbered("job.7", 3))
            with server.client() as client:
                client.script_flush()
            await log.append(numbered("job.7", 1, start=4))
            assert (await log.positions(["job.7"]))["job.7"].offset == 4


async def test_sentinel_failover_moves_to_the_new_master(tmp_path: Path) -> None:
    with RedisPair(tmp_path) as pair:
        async with RedisBackend(pair.url) as log, log.listen() as listener:
            await listener.subscribe(["job.7"])
            stream = aiter(listener)
            before = await append_step(log, "job.7", 1)
            assert await steps(stream, 1) == [1]
            with pair.master.client() as client:
                assert client.wait(1, 5_000) == 1
            pair.master.kill()
            await wait_for_gap(stream)
            await wait_until_connected(listener)
            after = await append_step(log, "job.7", 2)
            assert await steps(stream, 2) == [2]
    assert after == Position(before.epoch, 2)


@pytest.mark.parametrize("mode", ["function", "script"])
async def test_full_redis_answers_reads_and_refuses_writes(tmp_path: Path, mode: str) -> None:
    options = ("--rename-command", "FCALL", "") if mode == "script" else ()
    with RedisServer(tmp_path / "full", "--save", "", *options) as server:
        async with RedisBackend(server.url) as log:
            event = Event(channel="job.7", event="job.step", data=1, key="k")
            (receipt,) = await log.append([event])
            generation = await log.generation("a")
            with server.client() as client:
                client.config_set("maxmemory", "1mb")
            top = receipt.position
            assert top
            assert await log.positions(["job.7"]) == {"job.7": top}
            page = await log.read("job.7", Position(top.epoch, 0))
            assert isinstance(page, Page)
            assert [event.data for event in page.events] == [1]
            assert [event.key for event in (await log.latest("job.7")).events] == ["k"]
            assert await log.generation("a") == generation
            for channel in ("job.7", "job.8"):
                with pytest.raises(PublishError, match="raise its maxmemory") as caught:
                    await log.append(numbered(channel, 1))
                assert caught.value.retryable
            with pytest.raises(PublishError, match="raise its maxmemory"):
                await log.positions(["job.8"])
            with server.client() as client:
                client.config_set("maxmemory", "0")
            (receipt,) = await log.append(numbered("job.7", 1))
            assert receipt.position == Position(top.epoch, 2)


class TestEviction:
    @pytest.fixture
    async def log(self, redis_server: RedisServer) -> AsyncIterator[RedisBackend]:
        async with RedisBackend(redis_server.url) as log:
            yield log

    async def append_and_evict(
        self, log: RedisBackend, server: RedisServer, part: str
    ) -> tuple[str, Position]:
        """Append events, delete one of the channel's keys, and return the channel and its top."""
        channel = new_channel()
        events = [
            Event(channel=channel, event="job.step", data=n, id=f"id {n}", key=key)
            for n, key in enumerate(["a", "b", "a", None])
        ]
        *_, last = await log.append(events)
        with server.client() as client:
            assert client.delete(f"realtime:{{{channel}}}:{part}") == 1
        assert last.position
        return channel, last.position

    @pytest.mark.parametrize("part", ["meta", "ids", "latest", "order"])
    @pytest.mark.parametrize("call", ["positions", "read", "latest", "append"])
    async def test_evicted_key_begins_a_new_epoch(
        self, log: RedisBackend, redis_server: RedisServer, part: str, call: str
    ) -> None:
        channel, before = await self.append_and_evict(log, redis_server, part)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "positions": lambda: log.positions([channel]),
            "read": lambda: log.read(channel, before),
            "latest": lambda: log.latest(channel),
            "append": lambda: log.append(numbered(channel, 1)),
        }
        await calls[call]()
        top = (await log.positions([channel]))[channel]
        assert top.epoch != before.epoch
        assert await log.read(channel, before) == Reset(reason="epoch", top=top)
        latest = [(event.key, event.data) for event in (await log.latest(channel)).events]
        assert latest == ([("b", 1), ("a", 2)] if part in ("meta", "ids") else [])

    async def test_evicted_history_gives_resets_and_no_hole(
        self, log: RedisBackend, redis_server: RedisServer
    ) -> None:
        channel, top = await self.append_and_evict(log, redis_server, "events")
        await log.append(numbered(channel, 1))
        after = Position(top.epoch, 5)
        for offset in range(5):
            answer = await log.read(channel, Position(top.epoch, offset))
            assert answer == Reset(reason="truncated", top=after)
        assert len((await log.latest(channel)).events) == 2

    async def test_keys_older_than_a_week_are_left_out(
        self, log: RedisBackend, redis_server: RedisServer
    ) -> None:
        channel = new_channel()
        keyed = [Event(channel=channel, event="a", data=n, key=f"k{n}") for n in range(7)]
        await log.append(keyed)
        name = f"realtime:{{{channel}}}:latest"
        with redis_server.client() as client:
            for n in range(5):
                frame = str(client.hget(name, f"k{n}"))
                client.hset(name, f"k{n}", frame.replace('"time":1', '"time":0'))
        page = await log.latest(channel, limit=2)
        assert ([event.data for event in page.events], page.more) == ([5, 6], False)


async def test_server_without_the_function_command_gets_scripts(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--save", "", "--rename-command", "FUNCTION", "") as server:
        async with RedisBackend(server.url) as log:
            (receipt,) = await log.append(numbered("job.7", 1))
            assert receipt.position
            results = {result.check: result.detail for result in await log.check()}
    assert results["redis scripts"] == "EVALSHA"


@pytest.mark.parametrize("kind", ["redis+cluster", "redis+sentinel"])
async def test_errors_of_other_kinds_of_servers_are_ours(
    redis_server: RedisServer, kind: str
) -> None:
    for port in (redis_server.port, 9):
        async with RedisBackend(
            f"{kind}://127.0.0.1:{port}/{'log' * (kind[6:] != 'cluster')}"
        ) as log:
            with pytest.raises(PublishError):
                await log.append(numbered("job.7", 1))
            (result,) = [result for result in await log.check() if result.status == "failed"]
            assert result.hint


async def test_unreachable_server_is_named() -> None:
    async with RedisBackend("redis://ada:hunter2@127.0.0.1:9/0") as log:
        with pytest.raises(
            BackendUnavailableError, match=r"127\.0\.0\.1:9.*check that it runs"
        ) as caught:
            await log.append(numbered("job.7", 1))
    assert "127.0.0.1:9" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1", "redis+pool://a:1", "redis+sentinel://127.0.0.1:1", "redis+cluster://"],
)
def test_invalid_url_is_rejected_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="REALTIME_REDIS_URL"):
        RedisBackend(url)


class TestWithTLSAndAUser:
    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[tuple[RedisServer, str]]:
        """Run a Redis with TLS on a second port, and one user with few rights."""
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(tmp_path / "key.pem")
        issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        secure = RedisServer(tmp_path / "unused").port
        options = (
            *("--tls-port", str(secure), "--tls-auth-clients", "no"),
            *("--tls-cert-file", str(tmp_path / "cert.pem")),
            *("--tls-key-file", str(tmp_path / "key.pem")),
            *("--tls-ca-cert-file", str(tmp_path / "ca.pem")),
        )
        with RedisServer(tmp_path / "tls", *options) as server:
            with server.client() as client:
                rights = "~realtime:* &realtime:* +@read +@write +@pubsub +@scripting +@connection"
                user = ("ACL", "SETUSER", "log", "on", ">pa:ss", *rights.split(), "+info", "+time")
                client.execute_command(*user)
            yield server, f"localhost:{secure}/0?ssl_ca_certs={tmp_path / 'ca.pem'}"

    async def test_url_holds_user_and_certificate(self, server: tuple[RedisServer, str]) -> None:
        async with (
            RedisBackend(f"rediss://log:pa%3Ass@{server[1]}") as log,
            log.listen() as listener,
        ):
            await listener.subscribe(["job.7"])
            await log.append(numbered("job.7", 1))
            assert await steps(aiter(listener), 1) == [1]
            assert "failed" not in {result.status for result in await log.check()}

    async def test_wrong_password_is_reported_and_redacted(
        self, server: tuple[RedisServer, str]
    ) -> None:
        async with RedisBackend(f"rediss://log:hunter2@{server[1]}") as log:
            with pytest.raises(BackendAuthError, match="user and password") as caught:
                await log.append(numbered("job.7", 1))
        assert "hunter2" not in str(caught.value)

    async def test_untrusted_certificate_is_rejected(self, server: tuple[RedisServer, str]) -> None:
        assert ssl.HAS_TLSv1_2
        url = f"rediss://log:pa%3Ass@{server[1].partition('?')[0]}"
        async with RedisBackend(url) as log:
            with pytest.raises(BackendUnavailableError):
                await log.append(numbered("job.7", 1))


class TestRetention:
    async def test_history_is_limited_in_bytes(self, redis_server: RedisServer) -> None:
        channel = new_channel()
        async with RedisBackend(redis_server.url, retention=Retention(bytes=10_000)) as log:
            for n in range(20):
                data = [n, "x" * 1_000]
                await log.append([Event(channel=channel, event="job.step", data=data)])
            top = (await log.positions([channel]))[channel]
            assert isinstance(await log.read(channel, Position(top.epoch, 12)), Page)
            assert isinstance(await log.read(channel, Position(top.epoch, 5)), Reset)

    async def test_last_event_is_kept_at_any_size(self, redis_server: RedisServer) -> None:
        channel = new_channel()
        async with RedisBackend(redis_server.url, retention=Retention(bytes=1_000)) as log:
            before = (await log.positions([channel]))[channel]
            await log.append([Event(channel=channel, event="job.step", data="x" * 2_000)])
            page = await log.read(channel, before)
            assert isinstance(page, Page)
            assert len(page.events) == 1

    async def test_expired_history_keeps_the_position(self, redis_server: RedisServer) -> None:
        channel = new_channel()
        events = f"realtime:{{{channel}}}:events"
        async with RedisBackend(redis_server.url, retention=Retention(seconds=60)) as log:
            *_, last = await log.append(numbered(channel, 3))
            assert last.position
            with redis_server.client() as client:
                assert 55_000 < client.pttl(events) <= 60_000
                client.delete(events)  # as Redis does at its expiry
            answer = await log.read(channel, Position(last.position.epoch, 1))
            assert answer == Reset(reason="truncated", top=last.position)
            (receipt,) = await log.append(numbered(channel, 1, start=4))
            assert receipt.position == Position(last.position.epoch, 4)

    async def test_channel_that_is_read_keeps_its_epoch_without_an_event(
        self, redis_server: RedisServer
    ) -> None:
        channel = new_channel()
        meta = f"realtime:{{{channel}}}:meta"
        async with RedisBackend(redis_server.url) as log:
            before = (await log.positions([channel]))[channel]
            with redis_server.client() as client:
                for reading in (log.positions([channel]), log.read(channel, before)):
                    client.pexpire(meta, 200_000)
                    await reading
                    assert client.pttl(meta) > 500_000
            assert (await log.positions([channel]))[channel] == before
            await log.append(numbered(channel, 1))
            with redis_server.client() as client:
                assert client.pttl(meta) > 600_000

    async def test_latest_keeps_a_thousand_keys(self, redis_server: RedisServer) -> None:
        channel = new_channel()
        keyed = [
            Event(channel=channel, event="job.step", data=n, key=f"k{n}") for n in range(1_010)
        ]
        async with RedisBackend(redis_server.url) as log:
            for start in range(0, len(keyed), 500):
                await log.append(keyed[start : start + 500])
            first = await log.latest(channel)
        assert (first.events[0].key, first.more) == ("k10", True)

    async def test_keys_of_a_channel_share_a_slot_and_expire(
        self, redis_server: RedisServer
    ) -> None:
        channel = new_channel()
        async with RedisBackend(redis_server.url) as log:
            await log.append([Event(channel=channel, event="job.step", data=1, key="k")])
        with redis_server.client() as client:
            keys = set(client.keys(f"*{channel}*"))
            lifetimes = {key: client.ttl(key) for key in keys}
        parts = ("meta", "events", "ids", "latest", "order")
        assert keys == {f"realtime:{{{channel}}}:{part}" for part in parts}
        assert all(seconds > 0 for seconds in lifetimes.values()), "every key must expire"


async def test_event_of_another_process_is_received(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    channel = new_channel()
    variables = {"REALTIME_BACKEND": "redis", "REDIS_URL": redis_server.url}
    async with RedisBackend(redis_server.url) as log, log.listen() as listener:
        await listener.subscribe([channel])
        command = ("publish", channel, "job.step", '{"step": 1}')
        result = await asyncio.to_thread(run, *command, folder=tmp_path, variables=variables)
        assert result.returncode == 0, result.stderr
        assert await steps(aiter(listener), 1) == [1]


async def test_generation_grows_with_each_new_configuration(
    own_server: RedisServer,
) -> None:
    async with RedisBackend(own_server.url) as one, RedisBackend(own_server.url) as other:
        first = await one.generation("a")
        assert await other.generation("a") == first
        second = await other.generation("b")
        assert second > first
        assert await one.generation("a") > second


def test_blocking_broadcaster_publishes(redis_server: RedisServer) -> None:
    channel = new_channel()
    with BlockingBroadcaster(lambda: Broadcaster(log=RedisBackend(redis_server.url))) as blocking:
        receipts = [blocking.publish(channel, "job.step", n) for n in range(3)]
    assert [receipt.position and receipt.position.offset for receipt in receipts] == [1, 2, 3]


class TestChecks:
    @staticmethod
    def result_of(check: str, results: list[CheckResult]) -> CheckResult:
        (result,) = [result for result in results if result.check == check]
        return result

    async def test_eviction_policy_is_reported(self, own_server: RedisServer) -> None:
        with own_server.client() as client:
            client.config_set("maxmemory", "100mb")
            client.config_set("maxmemory-policy", "allkeys-lru")
        async with RedisBackend(own_server.url) as log:
            memory = self.result_of("redis memory", await log.check())
        assert memory.status == "failed"
        assert memory.hint
        assert "noeviction" in memory.hint

    async def test_missing_persistence_is_reported(self, redis_server: RedisServer) -> None:
        async with RedisBackend(redis_server.url) as log:
            results = await log.check()
        assert self.result_of("redis persistence", results).status == "warning"
        assert self.result_of("redis scripts", results).detail == "function library"

    async def test_missing_permissions_are_listed(self, own_server: RedisServer) -> None:
        with own_server.client() as client:
            client.execute_command("ACL SETUSER poor on >secret +info +ping +time +hello")
        url = own_server.url.replace("//", "//poor:secret@")
        async with RedisBackend(url) as log:
            rights = self.result_of("redis permissions", await log.check())
        assert rights.status == "failed"
        assert rights.hint
        assert "~realtime:*" in rights.hint

    async def test_unreachable_server_is_the_only_result(self) -> None:
        async with RedisBackend("redis://127.0.0.1:9/0") as log:
            (result,) = await log.check()
        assert result.status == "failed"
