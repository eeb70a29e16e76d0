"""TCP proxy between clients and a real server, with switchable network faults."""

import asyncio
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Literal, Self

CHUNK_BYTES = 64 * 1024
UNLIMITED = float("inf")

Direction = Literal["up", "down"]
"""Up is from the client to the server, down the opposite direction."""


class FaultyProxy:
    """Proxy to the server at `port` of this machine; an async context manager.

    It listens on a free port of the loopback. A connection that lost bytes stays silent, also
    after `heal`: its stream has a gap.
    """

    def __init__(self, port: int) -> None:
        self.only: bytes = b""
        """Bytes that a client's first bytes contain; faults affect only such connections."""
        self.accepted: int = 0
        """Number of client connections."""
        self.refused: int = 0
        """Number of rejected connections."""
        self.dropped: int = 0
        """Number of cuts."""
        self.forwarded: dict[Direction, int] = {"up": 0, "down": 0}
        """Number of forwarded bytes in each direction."""
        self._target = port
        self._port = 0
        self._links: set[_Link] = set()
        self._changed = asyncio.Condition()
        self._waiting = 0
        self._exits = AsyncExitStack()
        self._thawed = asyncio.Event()
        self.heal()

    @property
    def url(self) -> str:
        """Address that clients use instead of the server's address."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            self._tasks = await exits.enter_async_context(asyncio.TaskGroup())
            await self.open_port()
            exits.callback(self.drop)
            exits.callback(self.close_port)
            exits.callback(self.heal)  # a frozen connection ends too
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.only = b""  # the final drop resets every connection
        await self._exits.aclose()

    def heal(self) -> None:
        """End every fault, except a closed port."""
        self._refusing = self._cutting = False
        self._delay = 0.0
        self._rate = self._received_limit = UNLIMITED
        self._frozen: set[Direction] = set()
        self._thawed.set()
        self._allowance: dict[Direction, float] = {"up": UNLIMITED, "down": UNLIMITED}

    async def open_port(self) -> None:
        """Listen again after `close_port`."""
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self._port, backlog=4_096
        )
        self._port = self._server.sockets[0].getsockname()[1]

    def close_port(self) -> None:
        """Stop listening: the kernel refuses new connections. Open connections continue."""
        self._server.close()

    def drop(self, *, after: int | None = None, direction: Direction = "down") -> None:
        """Reset all open connections: at once, or after the next `after` forwarded bytes."""
        if after is None:
            links = self._affected()
            self.dropped += bool(links)
            for link in links:
                link.reset()
        else:
            self._cutting, self._allowance[direction] = True, after

    def refuse(self) -> None:
        """Reset every new connection."""
        self._refusing = True

    def delay(self, seconds: float) -> None:
        """Delay all bytes by this number of seconds in each direction."""
        self._delay = seconds

    def throttle(self, bytes_per_second: float) -> None:
        """Limit each direction of each connection to this rate."""
        self._rate = bytes_per_second

    def freeze(self, *directions: Direction) -> None:
        """Hold all bytes and ends of streams in these directions, or in both, until `heal`."""
        self._frozen.update(directions or ("up", "down"))
        self._thawed.clear()

    def lose_requests(self, *, received: int) -> None:
        """Discard a connection's bytes to the server once its client received so many bytes."""
        self._received_limit = received

    def swallow(self, *directions: Direction, after: int = 0) -> None:
        """Discard all bytes in these directions, or in both, after `after` forwarded bytes."""
        self._cutting = False
        self._allowance.update(dict.fromkeys(directions or ("up", "down"), after))

    def half_open(self) -> None:
        """Close the server's side of the open connections; the clients receive no notice."""
        for link in self._affected():
            link.lose_server()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until connections or forwarded bytes have made `condition` true."""
        self._waiting += 1
        try:
            async with self._changed:
                await self._changed.wait_for(condition)
        finally:
            self._waiting -= 1

    def _affected(self) -> list["_Link"]:
        return [link for link in self._links if self.only in link.first]

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._tasks.create_task(self._serve(_Link(self, reader, writer)))

    async def _serve(self, link: "_Link") -> None:
        self.accepted += 1
        self._links.add(link)
        await self._notify()
        with suppress(OSError):
            # The first bytes decide whether the faults affect the connection.
            first = await link.client.read(CHUNK_BYTES) if self.only else b""
            if self._refusing and self.only in first:
                self.refused += 1
                link.reset()
            else:
                await link.run(self._target, first)
        link.close()
        self._links.discard(link)
        await self._notify()

    async def forward(self, direction: Direction, chunk: bytes, link: "_Link") -> bytes:
        """Return the part of a chunk that the faults let through."""
        if self._delay or self._rate < UNLIMITED:
            await asyncio.sleep(self._delay + len(chunk) / self._rate)
        await self.until_thawed(direction, link)
        allowance = self._allowance_of(direction, link)
        forwarded_part = chunk if allowance >= len(chunk) else chunk[: int(allowance)]
        self._allowance[direction] -= len(forwarded_part) if allowance < UNLIMITED else 0
        self.forwarded[direction] += len(forwarded_part)
        link.received += len(forwarded_part) if direction == "down" else 0
        await self._notify()
        return forwarded_part

    async def until_thawed(self, direction: Direction, link: "_Link") -> None:
        """Wait until the connection is not frozen in this direction."""
        while direction in self._frozen and self.only in link.first:
            await self._thawed.wait()

    def _allowance_of(self, direction: Direction, link: "_Link") -> float:
        if self.only not in link.first:
            return UNLIMITED
        if direction == "up" and link.received >= self._received_limit:
            return 0
        return self._allowance[direction]

    def finish_drop(self, direction: Direction) -> None:
        """Reset the open connections if `drop` has waited for the bytes that are used up."""
        if self._cutting:
            self._cutting, self._allowance[direction] = False, UNLIMITED
            self.drop()

    async def _notify(self) -> None:
        if not self._waiting:
            return
        async with self._changed:
            self._changed.notify_all()


class _Link:
    """Connection of a client, and the matching connection to the server."""

    def __init__(self, proxy: FaultyProxy, client: StreamReader, to_client: StreamWriter) -> None:
        self.client = client
        self.first: bytes = b""
        self.received: int = 0
        self._proxy = proxy
        self._writers = [to_client]
        self._silent: set[Direction] = set()

    async def run(self, port: int, first: bytes) -> None:
        """Forward bytes until one side closes; a silenced link runs until the client closes."""
        server, to_server = await asyncio.open_connection("127.0.0.1", port)
        self._writers.append(to_server)
        down = asyncio.create_task(self._forward("down", server, self._writers[0]))
        up = asyncio.create_task(self._forward("up", self.client, to_server, first))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if self._silent:  # the end of the server must stay hidden from the client
                await up
        finally:
            up.cancel()
            down.cancel()

    def reset(self) -> None:
        for writer in self._writers:
            _reset(writer)

    def lose_server(self) -> None:
        self._silent |= {"up", "down"}  # first: the reset below ends the reader of the server
        for writer in self._writers[1:]:
            _reset(writer)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _forward(
        self, direction: Direction, reader: StreamReader, writer: StreamWriter, chunk: bytes = b""
    ) -> None:
        with suppress(OSError):
            while chunk := chunk or await reader.read(CHUNK_BYTES):
                self.first = self.first or (chunk if direction == "up" else b"")
                if direction not in self._silent:
                    await self._write(direction, chunk, writer)
                chunk = b""
        await self._proxy.until_thawed(direction, self)  # also the end of a stream is held

    async def _write(self, direction: Direction, chunk: bytes, writer: StreamWriter) -> None:
        forwarded_part = await self._proxy.forward(direction, chunk, self)
        with suppress(OSError):
            writer.write(forwarded_part)
            await writer.drain()
        if forwarded_part != chunk:
            self._silent.add(direction)
            self._proxy.finish_drop(direction)


def _reset(writer: StreamWriter) -> None:
    with suppress(OSError):  # the socket may be closed already
        connection = writer.get_extra_info("socket")
        # Without lingering, close() sends RST instead of FIN: the peer reads an error.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
