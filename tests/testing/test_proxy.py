"""Faults of FaultyProxy, seen by clients of an echo server."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import pytest

from realtime_bridge.testing import FaultyProxy

Connection = tuple[StreamReader, StreamWriter]
TIMEOUT = 10.0


async def echo(reader: StreamReader, writer: StreamWriter) -> None:
    with closing(writer):
        try:
            while chunk := await reader.read(1_000):
                writer.write(chunk)
        except ConnectionResetError:
            return


@pytest.fixture
async def proxy() -> AsyncIterator[FaultyProxy]:
    async with (
        await asyncio.start_server(echo, "127.0.0.1", 0) as server,
        FaultyProxy(server.sockets[0].getsockname()[1]) as proxy,
        asyncio.timeout(TIMEOUT),
    ):
        yield proxy


@asynccontextmanager
async def connected(proxy: FaultyProxy, greeting: bytes = b"hello") -> AsyncIterator[Connection]:
    port = int(proxy.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with closing(writer):
        writer.write(greeting)
        yield reader, writer


async def answers(connection: Connection, text: bytes) -> bool:
    connection[1].write(text)
    return await connection[0].readexactly(len(text)) == text


async def is_reset(connection: Connection) -> bool:
    try:
        while await connection[0].read(1_000):
            pass
    except ConnectionResetError:
        return True
    return False


async def test_bytes_are_forwarded_and_counted_in_both_directions(proxy: FaultyProxy) -> None:
    async with connected(proxy) as connection:
        assert await connection[0].readexactly(5) == b"hello"
    assert (proxy.accepted, proxy.refused, proxy.dropped) == (1, 0, 0)
    assert proxy.forwarded == {"up": 5, "down": 5}


async def test_drop_resets_open_connections_and_accepts_new_ones(proxy: FaultyProxy) -> None:
    async with connected(proxy) as connection:
        assert await answers(connection, b"") is True
        await connection[0].readexactly(5)
        proxy.drop()
        assert await is_reset(connection)
        assert proxy.dropped == 1
    async with connected(proxy) as another:
        assert await another[0].readexactly(5) == b"hello"


async def test_drop_resets_in_the_middle_of_a_message(proxy: FaultyProxy) -> None:
    proxy.drop(after=3)
    async with connected(proxy) as connection:
        assert await connection[0].readexactly(3) == b"hel"
        assert await is_reset(connection)


async def test_new_connections_are_reset_until_heal(proxy: FaultyProxy) -> None:
    proxy.refuse()
    async with connected(proxy) as connection:
        assert await is_reset(connection)
    assert proxy.refused == 1
    proxy.heal()
    async with connected(proxy) as connection:
        assert await connection[0].readexactly(5) == b"hello"


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_connection_that_lost_bytes_stays_silent(proxy: FaultyProxy, direction: str) -> None:
    proxy.swallow("up" if direction == "up" else "down", after=2)
    async with connected(proxy) as connection, connected(proxy) as silent:
        assert await connection[0].readexactly(2) == b"he"
        proxy.heal()
        async with connected(proxy) as another:
            assert await answers(another, b"")
            assert await another[0].readexactly(5) == b"hello"
        connection[1].write(b"more")
        assert not silent[0].at_eof()
        read_task = asyncio.create_task(connection[0].read(1))
        await proxy.until(lambda: proxy.accepted == 3)
        assert not read_task.done()
        read_task.cancel()


async def test_half_open_connection_is_silent_without_end(proxy: FaultyProxy) -> None:
    async with connected(proxy) as connection:
        await connection[0].readexactly(5)
        proxy.half_open()
        connection[1].write(b"any answer?")
        async with connected(proxy) as another:
            await another[0].readexactly(5)
        assert not connection[0].at_eof()
        proxy.drop()
        assert await is_reset(connection)


async def test_fault_affects_only_connections_with_given_bytes(proxy: FaultyProxy) -> None:
    proxy.only = b"Upgrade"
    proxy.refuse()
    async with connected(proxy, b"GET") as plain, connected(proxy, b"Upgrade") as upgrade:
        assert await plain[0].readexactly(3) == b"GET"
        assert await is_reset(upgrade)
        assert await answers(plain, b"again")


async def test_a_delay_holds_everything(proxy: FaultyProxy) -> None:
    proxy.delay(0.05)
    clock = asyncio.get_running_loop().time
    async with connected(proxy) as connection:
        start = clock()
        assert await connection[0].readexactly(5) == b"hello"
        assert clock() - start >= 0.09


async def test_throttled_bytes_take_their_time(proxy: FaultyProxy) -> None:
    proxy.throttle(100)
    clock = asyncio.get_running_loop().time
    async with connected(proxy) as connection:
        start = clock()
        assert await connection[0].readexactly(5) == b"hello"
        assert clock() - start >= 0.09


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_frozen_bytes_arrive_after_heal(proxy: FaultyProxy, direction: str) -> None:
    proxy.freeze("up" if direction == "up" else "down")
    async with connected(proxy) as connection:
        read_task = asyncio.create_task(connection[0].readexactly(5))
        await proxy.until(lambda: proxy.accepted == 1)
        if direction == "down":
            await proxy.until(lambda: proxy.forwarded["up"] == 5)
        assert not read_task.done()
        assert proxy.forwarded["down"] == 0
        proxy.heal()
        assert await read_task == b"hello"


async def test_end_of_a_frozen_stream_is_held(proxy: FaultyProxy) -> None:
    async with connected(proxy) as connection:
        await connection[0].readexactly(5)
        proxy.freeze("up")
        connection[1].write_eof()
        read_task = asyncio.create_task(connection[0].read(1))
        async with connected(proxy):
            await proxy.until(lambda: proxy.accepted == 2)
        assert not read_task.done()
        proxy.heal()
        assert await read_task == b""


async def test_closed_port_refuses_until_it_is_open(proxy: FaultyProxy) -> None:
    async with connected(proxy) as connection:
        await connection[0].readexactly(5)
        proxy.close_port()
        with pytest.raises(ConnectionRefusedError):
            async with connected(proxy):
                pass
        assert await answers(connection, b"still open")
    await proxy.open_port()
    async with connected(proxy) as another:
        assert await another[0].readexactly(5) == b"hello"


async def test_requests_are_lost_after_the_received_bytes(proxy: FaultyProxy) -> None:
    proxy.lose_requests(received=10)
    async with connected(proxy) as connection:
        await connection[0].readexactly(5)
        assert await answers(connection, b"again")
        connection[1].write(b"lost")
        async with connected(proxy) as another:
            await another[0].readexactly(5)
        assert proxy.forwarded["up"] == 15
