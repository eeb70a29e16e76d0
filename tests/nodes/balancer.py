"""Load balancer that distributes requests among the ready nodes, in turn."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import Self

CHECK_SECONDS = 0.1
CHUNK_BYTES = 65_536
HEAD_END = b"\r\n\r\n"


class Balancer:
    """Balancer on a free loopback port, for nodes at the given ports.

    Each HTTP request has a connection of its own, so that every request is distributed.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = list(ports)
        self._ready: set[int] = set(ports)
        self._next = 0
        self._exits = AsyncExitStack()
        self.upgrades: list[float] = []
        """Times of the socket upgrades, by the event loop's clock."""
        self._answers: dict[str, bytes] = {}
        self._open: dict[str, set[StreamWriter]] = defaultdict(set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/realtime"

    def answer(self, route: str, response: bytes) -> None:
        """Answer all requests of a route with this response, and cut its open connections."""
        self._answers[route] = response
        for writer in self._open[route]:
            writer.transport.abort()

    def forward(self, route: str) -> None:
        """Forward the requests of a route to the nodes again."""
        del self._answers[route]

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            self._tasks = await exits.enter_async_context(asyncio.TaskGroup())
            server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=4_096)
            exits.callback(server.close)
            for port in self._ports:
                exits.callback(self._tasks.create_task(self._watch(port)).cancel)
            self.port = server.sockets[0].getsockname()[1]
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
        route = ""
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(HEAD_END)
                route = _route(head)
                self._open[route].add(writer)
                if route == "ws":
                    self.upgrades.append(asyncio.get_running_loop().time())
                if response := self._answers.get(route):
                    await _answer(response, head, reader, writer)
                else:
                    await self._forward_both(_alone(head), reader, writer)
        finally:
            self._open[route].discard(writer)
            writer.close()

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


def _route(head: bytes) -> str:
    """Return the last part of the request's path."""
    path = head.split(b" ", 2)[1].partition(b"?")[0]
    return path.rpartition(b"/")[2].decode()


def _alone(head: bytes) -> bytes:
    """Return the head with `Connection: close`, unless it upgrades the connection."""
    lines = head.split(b"\r\n")
    if any(line.lower().startswith(b"upgrade:") for line in lines):
        return head
    kept = [line for line in lines if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([kept[0], b"Connection: close", *kept[1:]])


async def _answer(response: bytes, head: bytes, reader: StreamReader, writer: StreamWriter) -> None:
    """Answer after the request's body: with unread bytes, the kernel would reset the connection."""
    lines = [line.lower().split(b":") for line in head.split(b"\r\n")]
    length = next((int(line[1]) for line in lines if line[0] == b"content-length"), 0)
    await reader.readexactly(length)
    writer.write(response)
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
