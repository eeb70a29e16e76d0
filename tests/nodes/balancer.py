"""Load balancer that distributes connections among the ready nodes, in turn."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import Self

CHECK_SECONDS = 0.1
CHUNK_BYTES = 65_536


class Balancer:
    """Balancer on a free loopback port, for nodes at the given ports."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = list(ports)
        self._ready: set[int] = set(ports)
        self._next = 0
        self._exits = AsyncExitStack()
        self.upgrades: list[float] = []
        """Times of the socket upgrades, by the event loop's clock."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/realtime"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            self._tasks = await exits.enter_async_context(asyncio.TaskGroup())
            server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=4_096)
            exits.callback(server.close)
            for port in self._ports:
                exits.callback(self._tasks.create_task(self._watch(port)).cancel)
            self._port = server.sockets[0].getsockname()[1]
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()

    async def _watch(self, port: int) -> None:
        while True:
            if await _is_ready(port):
                self._ready.add(port)
            else:
                self._ready.discard(port)
            await asyncio.sleep(CHECK_SECONDS)

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._tasks.create_task(self._serve(reader, writer))

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            with suppress(OSError):
                first = await reader.read(CHUNK_BYTES)
                if b"/realtime/ws" in first.partition(b"\r\n")[0]:
                    self.upgrades.append(asyncio.get_running_loop().time())
                await self._forward_both(first, reader, writer)
        finally:
            writer.transport.abort()

    async def _forward_both(self, first: bytes, reader: StreamReader, writer: StreamWriter) -> None:
        from_node, to_node = await asyncio.open_connection("127.0.0.1", self._choose())
        to_node.write(first)
        tasks = {
            asyncio.create_task(_forward(reader, to_node)),
            asyncio.create_task(_forward(from_node, writer)),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            to_node.transport.abort()

    def _choose(self) -> int:
        ready = [port for port in self._ports if port in self._ready] or self._ports
        self._next += 1
        return ready[self._next % len(ready)]


async def _forward(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()


async def _is_ready(port: int) -> bool:
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /realtime/health/ready HTTP/1.0\r\n\r\n")
                response = await reader.read()
            finally:
                writer.transport.abort()
            return b" 200 " in response.partition(b"\r\n")[0]
    except (OSError, TimeoutError):
        return False
