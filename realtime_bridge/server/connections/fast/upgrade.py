"""Upgrades from uvicorn: those of the bridge become fast connections, others go to its class."""

import asyncio
import base64
import binascii
import hashlib
from contextlib import suppress
from functools import partial
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.server import ServerState

from realtime_bridge.protocol.wire.messages import SUBPROTOCOL
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.connections.connection import own_positions
from realtime_bridge.server.connections.fast.connection import FastConnection
from realtime_bridge.server.connections.fast.response_bytes import rejection
from realtime_bridge.server.connections.fast.standard import StandardWebSocket
from realtime_bridge.server.connections.fast.upgrade_request import upgrade_request
from realtime_bridge.server.context import STATE, OpenFast, ServerContext
from realtime_bridge.server.http.request import HTTPError, Request
from realtime_bridge.server.services import ConnectionServices

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION = "13"
_KEY_BYTES = 16


class WebSocket(asyncio.Protocol):
    """WebSocket class for uvicorn's `ws=`.

    It serves the path `ws` below the bridge's `REALTIME_PATH`, and the sockets of Pusher's clients,
    if the lifespan state has the bridge's context. Other paths are for uvicorn's standard class.

    Args:
        config: uvicorn's configuration.
        server_state: uvicorn's connections and tasks.
        app_state: the lifespan state.

    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._inner: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport over from uvicorn's HTTP protocol."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's inherits from nothing
        http: Any = self._transport.get_protocol()
        if hasattr(http, "parser"):
            # It has ended, but refers to the protocol: the two would wait for a collection.
            http.parser = None

    def open_at_once(self, transport: asyncio.Transport, request: Request) -> bool:
        """Answer a request that uvicorn has not parsed; return False if it is for uvicorn.

        Args:
            transport: the transport, of which the connection becomes the protocol.
            request: the request.

        """
        self._transport = transport
        inner = self._accept(request)
        if inner is None:
            return False
        transport.set_protocol(inner)
        return True

    def data_received(self, data: bytes) -> None:
        """Answer the upgrade, which uvicorn writes out again; pass later data on."""
        if self._inner is None:
            self._inner = self._accept(_parse(data)) or self._standard(data)
            # Later in this turn uvicorn makes this object the transport's protocol again.
            asyncio.get_running_loop().call_soon(self._transport.set_protocol, self._inner)
        else:
            self._inner.data_received(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Pass the call on to the connection."""
        if self._inner:
            self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        """Pass the call on to the connection."""
        if self._inner:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass the call on to the connection."""
        if self._inner:
            self._inner.resume_writing()

    def _accept(self, request: Request) -> asyncio.Protocol | None:
        """Return the protocol of the connection; None leaves the request to uvicorn's class."""
        context: ServerContext | None = self._app_state.get(STATE)
        if context is None:
            return None
        path = self._config.root_path + request.scope["path"]
        try:
            connect = self._find(context, path, request)
            if connect is None:
                return None
            answer = _answer(request)
        except HTTPError as error:
            context.connections.statistics.refuse(error.code, str(error))
            self._transport.write(rejection(error))
            self._transport.close()
            return asyncio.Protocol()
        # Without a buffer, uvloop writes at once. Otherwise it would pause the new connection: its
        # first events would not be written to its socket.
        self._transport.set_write_buffer_limits(high=0)
        self._transport.write(answer)
        return connect(self._transport, self._server_state.connections)

    def _find(self, context: ServerContext, path: str, request: Request) -> OpenFast | None:
        """Return how to open the socket of a path; None leaves the path to uvicorn's class.

        Raises:
            HTTPError: the client may not connect.

        """
        is_ours = path == f"{context.settings.path}/ws"
        if context.authenticator.guard or not is_ours:
            # Two calls of the kernel, which a usual upgrade does not need.
            peer = self._transport.get_extra_info("peername")
            # A Unix socket has no address.
            request.scope["client"] = peer if isinstance(peer, tuple) else None
        if is_ours:
            context.check_open(request)
            principal = context.authenticator.authorize_upgrade(request)
            return partial(_connect, context.connections, principal)
        if context.fast_upgrades:
            _read_forwarded(self._config, request)
        for upgrade in context.fast_upgrades:
            if connect := upgrade(path, request):
                return connect
        return None

    def _standard(self, data: bytes) -> asyncio.Protocol:
        inner = StandardWebSocket(self._config, self._server_state, self._app_state)
        inner.connection_made(self._transport)
        inner.data_received(data)
        return inner


def _connect(
    services: ConnectionServices,
    principal: Principal | None,
    transport: asyncio.Transport,
    connections: set[Any],
) -> FastConnection:
    connection = FastConnection(services, transport, connections)
    connection.open(principal, own_positions(principal))
    return connection


def _read_forwarded(config: Config, request: Request) -> None:
    """Take the client's address from a proxy that uvicorn is configured to trust."""
    if not config.proxy_headers or "x-forwarded-for" not in request.headers:
        return
    middleware = ProxyHeadersMiddleware(_ignore, config.forwarded_allow_ips)
    call: Any = middleware(request.scope, _disconnect, _send_nothing)  # type: ignore[arg-type]
    # It awaits that application alone, so that one step runs all of it.
    with suppress(StopIteration):
        call.send(None)


async def _ignore(*_: object) -> None:
    return


async def _send_nothing(_: object) -> None:
    return


def _parse(data: bytes) -> Request:
    """Return the request of the bytes that uvicorn writes: header names are in lower case."""
    first, *lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    method, target, _ = first.split(b" ", 2)
    headers = []
    for line in lines:
        name, _, value = line.partition(b": ")
        headers.append((name, value))
    return upgrade_request(method, target, headers)


def _answer(request: Request) -> bytes:
    """Return the response that opens the WebSocket, without extensions.

    Raises:
        HTTPError: the request cannot open a WebSocket.

    """
    headers = request.headers
    if request.scope["method"] != "GET":
        raise HTTPError(400, "bad_upgrade", "A WebSocket opens with GET")
    if headers.get("sec-websocket-version") != _VERSION:
        version = {"sec-websocket-version": _VERSION}
        raise HTTPError(426, "bad_upgrade", "Speak version 13 of WebSocket", headers=version)
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + _accepted(headers.get("sec-websocket-key", "")),
    ]
    offered = headers.get("sec-websocket-protocol", "").split(",")
    if SUBPROTOCOL in map(str.strip, offered):
        lines.append(f"Sec-WebSocket-Protocol: {SUBPROTOCOL}".encode())
    return b"\r\n".join((*lines, b"", b""))


def _accepted(key: str) -> bytes:
    """Return the proof that the server speaks WebSocket (RFC 6455 §4.2.2)."""
    try:
        is_valid = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        is_valid = False
    if not is_valid:
        raise HTTPError(400, "bad_upgrade", "Sec-WebSocket-Key is 16 bytes in base64")
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())


async def _disconnect() -> dict[str, object]:
    return {"type": "websocket.disconnect"}
