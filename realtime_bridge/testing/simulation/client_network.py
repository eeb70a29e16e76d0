"""Network of one simulated client: stands for aiohttp and websockets."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import SplitResult, urlsplit

import aiohttp
from websockets.datastructures import Headers
from websockets.exceptions import (
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidStatus,
    InvalidURI,
)
from websockets.frames import Close
from websockets.http11 import Response as HandshakeResponse

from realtime_bridge.client.network import Network
from realtime_bridge.testing.simulation.asgi_socket import ASGISocket
from realtime_bridge.testing.simulation.balancer import Balancer
from realtime_bridge.testing.simulation.fast_socket import FastSocket
from realtime_bridge.testing.simulation.http_exchange import Body, Head, HTTPExchange, Lost
from realtime_bridge.testing.simulation.network import Link
from realtime_bridge.testing.simulation.observer import Observer
from realtime_bridge.testing.simulation.virtual_loop import VirtualLoop

OPEN_SECONDS = 10.0
"""Time limit of a handshake: the default of `websockets`."""

HTML = b"<!doctype html><title>Sign in</title>"
ACCEPTED, OK, FOUND, UNAUTHORIZED, BAD_GATEWAY = 101, 200, 302, 401, 502
NORMAL = 1000


class ClientNetwork:
    """Way of one client to the servers, with the faults of it.

    Args:
        loop: the event loop.
        number: the number of the client.
        link: delays and losses.
        balancer: chooses the server.

    """

    def __init__(self, loop: VirtualLoop, number: int, link: Link, balancer: Balancer) -> None:
        self.loop: VirtualLoop = loop
        self.number: int = number
        self.link: Link = link
        self.is_refused: bool = False
        self.proxy_status: int | None = None
        """Status with which a proxy answers everything, instead of the server."""
        self.observer: Observer = Observer()
        self.polls: int = 0
        """Number of polls without a result."""
        self.last_contact: float = loop.now
        """Moment of the last poll, and of the last message of a server."""
        self.sockets: dict[ASGISocket | FastSocket, None] = {}
        self.exchanges: dict[HTTPExchange, None] = {}
        self.parts: Network = Network(
            open_session=cast("Any", lambda **options: _Session(self, **options)),
            connect=cast("Any", lambda url, **options: _Connect(self, url)),  # noqa: ARG005
        )
        self._balancer = balancer

    def reset(self) -> None:
        """Reset all connections."""
        for connection in (*self.sockets, *self.exchanges):
            connection.reset()

    def break_silently(self, which: str) -> None:
        """Lose what is sent on the open sockets, without notice."""
        for socket in self.sockets:
            socket.break_silently(which)
        for exchange in self.exchanges:
            exchange.down.is_broken = True

    async def open_socket(self, path: str) -> ASGISocket | FastSocket:
        """Open a WebSocket.

        Raises:
            OSError: the connection was refused.
            InvalidStatus: the server or a proxy answered without accepting.
            InvalidURI: a proxy redirected to a page.

        """
        await self.link.up.traverse()
        if self.is_refused:
            raise ConnectionRefusedError("connection refused")
        status = self.proxy_status
        node = self._balancer.pick() if status is None else None
        if node is None:
            await self.link.down.traverse()
            raise _failure(status or BAD_GATEWAY)
        socket = node.open_socket(self.link, self.number)
        self.sockets[socket] = None
        socket.begin(path)
        answer = await socket.inbox.get()
        if answer != ACCEPTED:
            self.sockets.pop(socket, None)
            if isinstance(answer, int):
                raise _failure(answer)
            raise ConnectionResetError("the connection was reset during the handshake")
        return socket

    async def request(
        self, method: str, url: SplitResult, headers: Mapping[str, str], body: bytes
    ) -> "tuple[Head, HTTPExchange | None]":
        """Send a request, and return the head of the response.

        Raises:
            aiohttp.ClientError: the connection was refused or lost.

        """
        await self.link.up.traverse(len(body))
        if self.is_refused:
            raise aiohttp.ClientConnectionError("connection refused")
        node = self._balancer.pick() if self.proxy_status is None else None
        if node is None:
            await self.link.down.traverse(len(HTML))
            # aiohttp follows a redirect: the page answers 200.
            status = 200 if self.proxy_status == FOUND else self.proxy_status or BAD_GATEWAY
            return Head(status, {"content-type": "text/html"}), None
        exchange = HTTPExchange(node, self.link, self.number)
        self.exchanges[exchange] = None
        encoded = [(name.lower().encode(), text.encode()) for name, text in headers.items()]
        scope = {"type": "http", "method": method, "path": url.path, "headers": encoded}
        exchange.begin(scope | {"query_string": url.query.encode()}, body)
        try:
            head = await exchange.inbox.get()
        except BaseException:
            self.end(exchange)
            raise
        if not isinstance(head, Head):
            self.end(exchange)
            raise aiohttp.ServerDisconnectedError
        return head, exchange

    def end(self, exchange: HTTPExchange | None) -> None:
        """Close the connection of a request."""
        if exchange:
            exchange.disconnect()
            self.exchanges.pop(exchange, None)


def _failure(status: int) -> Exception:
    """Return the error of `websockets` for a status that does not accept the handshake."""
    if status == FOUND:
        return InvalidURI("https://portal.example/", "scheme isn't ws or wss")
    return InvalidStatus(HandshakeResponse(status, "", Headers()))


class _Session:
    """Stand-in for `aiohttp.ClientSession`."""

    def __init__(
        self,
        network: ClientNetwork,
        *,
        timeout: aiohttp.ClientTimeout,
        trust_env: bool,  # noqa: ARG002
    ) -> None:
        self._network = network
        self._timeout = timeout

    def post(
        self,
        url: str,
        *,
        data: bytes,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> "_Request":
        total = (timeout or self._timeout).total
        return _Request(self._network, "POST", urlsplit(url), headers, data, total)

    def get(self, url: str, *, headers: Mapping[str, str]) -> "_Request":
        return _Request(self._network, "GET", urlsplit(url), headers, b"", self._timeout.total)

    async def close(self) -> None:
        pass


class _Request:
    """Stand-in for a request and its response."""

    def __init__(
        self,
        network: ClientNetwork,
        method: str,
        url: SplitResult,
        headers: Mapping[str, str],
        data: bytes,
        total: float | None,
    ) -> None:
        self.content = self
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._network = network
        self._arguments = (method, url, headers, data)
        self._is_poll = url.path.endswith("/poll")
        self._deadline = None if total is None else network.loop.now + total
        self._exchange: HTTPExchange | None = None

    async def __aenter__(self) -> Self:
        network = self._network
        network.polls += self._is_poll
        if self._is_poll:
            network.last_contact = network.loop.now
            network.observer.polled(network.polls)
        try:
            async with asyncio.timeout_at(self._deadline):
                head, self._exchange = await network.request(*self._arguments)
        except BaseException:
            network.polls -= self._is_poll
            raise
        self.status, self.headers = head.status, head.headers
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._network.polls -= self._is_poll
        self._network.end(self._exchange)

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    async def read(self) -> bytes:
        async with asyncio.timeout_at(self._deadline):
            body = b"".join([data async for data in self.iter_any()])
        if self._exchange and self.status == UNAUTHORIZED:
            self._network.observer.refused(body)
        if self._exchange and self.status == OK:
            _, url, _, asked = self._arguments
            self._network.observer.answered(url.path, asked, body)
        return body

    async def iter_any(self) -> AsyncIterator[bytes]:
        if self._exchange is None:
            yield HTML
            return
        while True:
            item = await self._exchange.inbox.get()
            if isinstance(item, Lost):
                raise aiohttp.ClientPayloadError("the response ended early")
            assert isinstance(item, Body)
            self._network.last_contact = self._network.loop.now
            yield item.data
            if not item.has_more:
                return


class _Connect:
    """Stand-in for `websockets.connect`."""

    def __init__(self, network: ClientNetwork, url: str) -> None:
        self._network = network
        self._path = urlsplit(url).path
        self._connection: _Connection

    async def __aenter__(self) -> "_Connection":
        async with asyncio.timeout(OPEN_SECONDS):
            socket = await self._network.open_socket(self._path)
        self._connection = _Connection(self._network, socket)
        return self._connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.abort()


class _Connection:
    """Stand-in for a connection of `websockets`."""

    def __init__(self, network: ClientNetwork, socket: ASGISocket | FastSocket) -> None:
        self.transport = self
        self._network = network
        self._socket = socket

    async def recv(self) -> str:
        item = await self._socket.inbox.get()
        self._network.last_contact = self._network.loop.now
        if isinstance(item, str):
            self._network.observer.received(self, item)
            return item
        if isinstance(item, tuple):
            rcvd = Close(*item)
            closed = ConnectionClosedOK if rcvd.code == NORMAL else ConnectionClosedError
            raise closed(rcvd, rcvd, rcvd_then_sent=True)
        raise ConnectionClosedError(None, None)

    async def send(self, text: str) -> None:
        self._network.observer.sent(text)
        self._socket.send_text(text)

    def abort(self) -> None:
        self._network.sockets.pop(self._socket, None)
        self._socket.abort()
