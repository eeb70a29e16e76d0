"""Upgrades from uvicorn: those of the bridge become fast connections, others go to its class."""

import asyncio
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from realtime_bridge.server.auth.rules import own_channel
from realtime_bridge.server.connections.fast import handshake
from realtime_bridge.server.connections.fast.connection import FastConnection
from realtime_bridge.server.context import STATE, ServerContext
from realtime_bridge.server.http.request import HTTPError


class WebSocket(asyncio.Protocol):
    """WebSocket class for uvicorn's `ws=`.

    It serves the path `ws` below the bridge's `REALTIME_PATH`, if the lifespan state has the
    bridge's context, and leaves every other path to uvicorn's standard class.

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

    def data_received(self, data: bytes) -> None:
        """Answer the upgrade, which uvicorn writes out again; pass later data on."""
        if self._inner is None:
            self._inner = self._accept(data)
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

    def _accept(self, data: bytes) -> asyncio.Protocol:
        request = handshake.parse(data)
        context: ServerContext | None = self._app_state.get(STATE)
        path = self._config.root_path + request.scope["path"]
        if context is None or path != f"{context.settings.path}/ws":
            return self._standard(data)
        try:
            principal = context.authorize_upgrade(request)
            answer = handshake.answer(request)
        except HTTPError as error:
            self._transport.write(handshake.rejection(error))
            self._transport.close()
            return asyncio.Protocol()
        self._transport.write(answer)
        connection = FastConnection(
            context.connections, self._transport, self._server_state.connections
        )
        connection.open(principal, {own_channel(principal.user): None} if principal else {})
        return connection

    def _standard(self, data: bytes) -> asyncio.Protocol:
        inner = WebSocketsSansIOProtocol(self._config, self._server_state, self._app_state)
        inner.connection_made(self._transport)
        inner.data_received(data)
        return inner
