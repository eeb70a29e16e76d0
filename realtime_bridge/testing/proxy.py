"""A TCP proxy in front of a real server, which fails as the test tells it."""

import asyncio
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Literal, Self

CHUNK_BYTES = 64 * 1024
UNLIMITED = float("inf")

Way = Literal["up", "down"]
"""Up is from the client to the server, down is back."""


class FaultyProxy:
    """Carries each connection to the server at `port` of this machine, until told otherwise.

    An async context manager; it listens on a free port of the loopback. A connection that lost
    bytes stays silent for good: `heal` is for those that lost none, and for new ones.
    """

    def __init__(self, port: int) -> None:
        self.only = b""
        """Faults hit connections that have this in the first bytes of the client."""
        self.accepted = self.refused = self.dropped = 0
        """Connections that clients made, those reset at once, and how often open ones were cut."""
        self.carried: dict[Way, int] = {"up": 0, "down": 0}
        """Bytes that were let through."""
        self._target = port
        self._port = 0
        self._links: set[_Link] = set()
        self._changed = asyncio.Condition()
        self._exits = AsyncExitStack()
        self.heal()

    @property
    def url(self) -> str:
        """The address that clients use instead of the server's."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            self._tasks = await exits.enter_async_context(asyncio.TaskGroup())
            server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
            exits.callback(self.drop)
            exits.callback(server.close)
            self._port = server.sockets[0].getsockname()[1]
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.only = b""
        await self._exits.aclose()

    def heal(self) -> None:
        """Let everything through again."""
        self._refusing = self._cutting = False
        self._delay = 0.0
        self._allowance: dict[Way, float] = {"up": UNLIMITED, "down": UNLIMITED}

    def drop(self, *, after: int | None = None, way: Way = "down") -> None:
        """Cut all open connections with a reset: now, or when so many more bytes have passed."""
        if after is None:
            hit = self._hit()
            self.dropped += bool(hit)
            for link in hit:
                link.reset()
        else:
            self._cutting, self._allowance[way] = True, after

    def refuse(self) -> None:
        """Reset every new connection."""
        self._refusing = True

    def delay(self, seconds: float) -> None:
        """Hold everything for so long on each way."""
        self._delay = seconds

    def swallow(self, *ways: Way, after: int = 0) -> None:
        """Forward nothing more on these ways, or on both, when so many more bytes have passed."""
        self._cutting = False
        self._allowance.update(dict.fromkeys(ways or ("up", "down"), after))

    def half_open(self) -> None:
        """End the open connections at the server, without a word to the clients."""
        for link in self._hit():
            link.lose_server()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what passes here has made `condition` true."""
        async with self._changed:
            await self._changed.wait_for(condition)

    def _hit(self) -> list["_Link"]:
        return [link for link in self._links if self.only in link.first]

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._tasks.create_task(self._serve(_Link(self, reader, writer)))

    async def _serve(self, link: "_Link") -> None:
        self.accepted += 1
        self._links.add(link)
        await self._notify()
        with suppress(OSError):
            first = await link.client.read(CHUNK_BYTES) if self.only else b""
            if self._refusing and self.only in first:
                self.refused += 1
                link.reset()
            else:
                await link.carry(self._target, first)
        link.close()
        self._links.discard(link)
        await self._notify()

    async def _pass(self, way: Way, chunk: bytes, link: "_Link") -> bytes:
        """Return as much of the chunk as goes on."""
        await asyncio.sleep(self._delay)
        allowed = self._allowance[way] if self.only in link.first else UNLIMITED
        passed = chunk if allowed >= len(chunk) else chunk[: int(allowed)]
        self._allowance[way] -= len(passed) if allowed < UNLIMITED else 0
        self.carried[way] += len(passed)
        await self._notify()
        return passed

    def _cut(self, way: Way) -> None:
        if self._cutting:
            self._cutting, self._allowance[way] = False, UNLIMITED
            self.drop()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class _Link:
    """A client's connection, and the one to the server that belongs to it."""

    def __init__(self, proxy: FaultyProxy, client: StreamReader, to_client: StreamWriter) -> None:
        self.client = client
        self.first = b""
        self._proxy = proxy
        self._writers = [to_client]
        self._silent: set[Way] = set()

    async def carry(self, port: int, first: bytes) -> None:
        """Carry bytes both ways, until one side ends it or, in silence, until the client does."""
        server, to_server = await asyncio.open_connection("127.0.0.1", port)
        self._writers.append(to_server)
        down = asyncio.create_task(self._forward("down", server, self._writers[0]))
        up = asyncio.create_task(self._forward("up", self.client, to_server, first))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if self._silent:
                await up
        finally:
            up.cancel()
            down.cancel()

    def reset(self) -> None:
        for writer in self._writers:
            _reset(writer)

    def lose_server(self) -> None:
        self._silent |= {"up", "down"}
        for writer in self._writers[1:]:
            _reset(writer)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _forward(
        self, way: Way, reader: StreamReader, writer: StreamWriter, chunk: bytes = b""
    ) -> None:
        with suppress(OSError):
            while chunk := chunk or await reader.read(CHUNK_BYTES):
                self.first = self.first or (chunk if way == "up" else b"")
                if way not in self._silent:
                    await self._write(way, chunk, writer)
                chunk = b""

    async def _write(self, way: Way, chunk: bytes, writer: StreamWriter) -> None:
        passed = await self._proxy._pass(way, chunk, self)
        with suppress(OSError):
            writer.write(passed)
            await writer.drain()
        if passed != chunk:
            self._silent.add(way)
            self._proxy._cut(way)


def _reset(writer: StreamWriter) -> None:
    with suppress(OSError):  # it may be closed already
        opened = writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
