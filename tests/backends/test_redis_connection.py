"""Connection of a Redis log's commands: calls share it, and survive its loss."""

import asyncio
from contextlib import suppress

import pytest

from realtime_bridge import BackendUnavailableError
from realtime_bridge.testing import FaultyProxy
from realtime_bridge.testing.contracts.samples import new_channel, numbered
from realtime_bridge_backends.redis import RedisBackend, RedisTiming
from tests.services.redis import RedisServer


def near(proxy: FaultyProxy, timing: RedisTiming | None = None) -> RedisBackend:
    """Return a log whose connections pass the proxy."""
    return RedisBackend(proxy.url.replace("http", "redis"), timing=timing)


def clients_of(server: RedisServer, name: str) -> int:
    with server.client() as client:
        return sum(entry["name"] == name for entry in client.client_list())


async def test_calls_at_the_same_time_share_one_connection(redis_server: RedisServer) -> None:
    name = new_channel()
    async with RedisBackend(f"{redis_server.url}?client_name={name}") as log:
        first = await asyncio.gather(*(log.append(numbered(name, 1, start=n)) for n in range(50)))
        assert [receipt.position.offset for (receipt,) in first if receipt.position] == [
            *range(1, 51)
        ]
        assert clients_of(redis_server, name) == 1
    assert clients_of(redis_server, name) == 0


async def test_calls_on_a_lost_connection_are_sent_again(redis_server: RedisServer) -> None:
    channel = new_channel()
    async with FaultyProxy(redis_server.port) as proxy, near(proxy) as log:
        await log.append(numbered(channel, 1))
        proxy.drop(after=1)  # Redis appends, and its answers are cut
        receipts = await asyncio.gather(
            *(log.append(numbered(channel, 1, start=number)) for number in range(2, 12))
        )
        offsets = [receipt.position.offset for (receipt,) in receipts if receipt.position]
        assert sorted(offsets) == [*range(2, 12)]
        assert any(receipt.duplicate for (receipt,) in receipts)
        assert (await log.latest(channel)).top.offset == 11


async def test_cancelled_calls_leave_the_connection_to_the_others(
    redis_server: RedisServer,
) -> None:
    name = new_channel()

    def connection() -> str:
        with redis_server.client() as client:
            (entry,) = (entry for entry in client.client_list() if entry["name"] == name)
            return str(entry["id"])

    async with RedisBackend(f"{redis_server.url}?client_name={name}") as log:
        await log.append(numbered(name, 1))
        first = connection()
        for _ in range(5):
            calls = [asyncio.ensure_future(log.positions([name])) for _ in range(3)]
            await asyncio.sleep(0)  # they are sent
            calls[1].cancel()
            with suppress(asyncio.CancelledError):
                await calls[1]
            for call in (calls[0], calls[2]):
                assert (await call)[name].offset == 1
        assert connection() == first


async def test_silent_connection_is_replaced_after_the_time_limit(
    redis_server: RedisServer,
) -> None:
    channel, timing = new_channel(), RedisTiming(call_seconds=0.3)
    async with FaultyProxy(redis_server.port) as proxy, near(proxy, timing) as log:
        await log.append(numbered(channel, 1))
        proxy.half_open()  # this connection alone is silent
        with pytest.raises(BackendUnavailableError, match="no answer within"):
            await log.positions([channel])
        assert (await log.positions([channel]))[channel].offset == 1


async def test_connection_that_the_server_closed_is_opened_again(
    redis_server: RedisServer,
) -> None:
    name = new_channel()
    async with RedisBackend(f"{redis_server.url}?client_name={name}") as log:
        for number in range(1, 4):
            await log.append(numbered(name, 1, start=number))
            with redis_server.client() as client:
                (connection,) = (c for c in client.client_list() if c["name"] == name)
                client.client_kill(connection["addr"])
        assert (await log.positions([name]))[name].offset == 3


def test_log_serves_one_event_loop_after_another(redis_server: RedisServer) -> None:
    channel, log = new_channel(), RedisBackend(redis_server.url)

    async def append(number: int) -> int:
        (receipt,) = await log.append(numbered(channel, 1, start=number))
        assert receipt.position
        return receipt.position.offset

    async def append_last(number: int) -> int:
        async with log:
            return await append(number)

    with asyncio.Runner() as first, asyncio.Runner() as second:
        assert first.run(append(1)) == 1
        assert second.run(append_last(2)) == 2
        first.run(asyncio.sleep(0))  # it closes its socket


async def test_answer_that_is_no_redis_ends_the_call() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while command := await reader.read(65_536):
                handshake = command.count(b"SETINFO")
                writer.write(b"+OK\r\n" * handshake or b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    timing = RedisTiming(call_seconds=5)
    async with server, RedisBackend(f"redis://127.0.0.1:{port}", timing=timing) as log:
        with pytest.raises(BackendUnavailableError, match="sent something else"):
            await log.positions(["job.7"])
