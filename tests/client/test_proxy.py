"""The faulty proxy does to a connection exactly what it is told."""

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


async def test_it_carries_both_ways_and_counts(proxy: FaultyProxy) -> None:
    async with connected(proxy) as connection:
        assert await connection[0].readexactly(5) == b"hello"
    assert (proxy.accepted, proxy.refused, proxy.dropped) == (1, 0, 0)
    assert proxy.carried == {"up": 5, "down": 5}


async def test_it_drops_what_is_open_and_takes_new_ones(proxy: FaultyProxy) -> None:
    async with connected(proxy) as connection:
        assert await answers(connection, b"") is True
        await connection[0].readexactly(5)
        proxy.drop()
        assert await is_reset(connection)
        assert proxy.dropped == 1
    async with connected(proxy) as another:
        assert await another[0].readexactly(5) == b"hello"


async def test_it_drops_in_the_middle_of_what_passes(proxy: FaultyProxy) -> None:
    proxy.drop(after=3)
    async with connected(proxy) as connection:
        assert await connection[0].readexactly(3) == b"hel"
        assert await is_reset(connection)


async def test_it_refuses_until_it_is_healed(proxy: FaultyProxy) -> None:
    proxy.refuse()
    async with connected(proxy) as connection:
        assert await is_reset(connection)
    assert proxy.refused == 1
    proxy.heal()
    async with connected(proxy) as connection:
        assert await connection[0].readexactly(5) == b"hello"


@pytest.mark.parametrize("way", ["up", "down"])
async def test_what_is_swallowed_leaves_that_connection_silent(
    proxy: FaultyProxy, way: str
) -> None:
    proxy.swallow("up" if way == "up" else "down", after=2)
    async with connected(proxy) as connection, connected(proxy) as never:
        assert await connection[0].readexactly(2) == b"he"
        proxy.heal()
        async with connected(proxy) as another:
            assert await answers(another, b"")
            assert await another[0].readexactly(5) == b"hello"
        connection[1].write(b"more")
        assert not never[0].at_eof()
        reading = asyncio.create_task(connection[0].read(1))
        await proxy.until(lambda: proxy.accepted == 3)
        assert not reading.done()
        reading.cancel()


async def test_half_open_is_silence_and_no_end(proxy: FaultyProxy) -> None:
    async with connected(proxy) as connection:
        await connection[0].readexactly(5)
        proxy.half_open()
        connection[1].write(b"anybody?")
        async with connected(proxy) as another:
            await another[0].readexactly(5)
        assert not connection[0].at_eof()
        proxy.drop()
        assert await is_reset(connection)


async def test_a_fault_hits_only_what_begins_so(proxy: FaultyProxy) -> None:
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
        begun = clock()
        assert await connection[0].readexactly(5) == b"hello"
        assert clock() - begun >= 0.09
