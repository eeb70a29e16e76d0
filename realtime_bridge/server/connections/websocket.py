"""WebSockets over ASGI."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from realtime_bridge.protocol.wire import messages
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.connections.asgi import ASGIConnection
from realtime_bridge.server.connections.connection import Connection, own_positions
from realtime_bridge.server.http.request import DISCONNECTED, Receive, Scope, Send
from realtime_bridge.server.services import ConnectionServices


async def serve(
    services: ConnectionServices,
    principal: Principal | None,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Accept an upgrade that was authorized, and serve the connection until it ends."""
    offered = scope.get("subprotocols", ())
    subprotocol = messages.SUBPROTOCOL if messages.SUBPROTOCOL in offered else None
    await send({"type": "websocket.accept", "subprotocol": subprotocol})
    connection = WebSocketConnection(services, receive, send)
    await connection.serve(partial(connection.open, principal, own_positions(principal)))


class ASGIWebSocket(ASGIConnection):
    """Connection on which both sides send messages."""

    def __init__(self, services: ConnectionServices, receive: Receive, send: Send) -> None:
        super().__init__(services)
        self._asgi_receive = receive
        self._asgi_send = send

    async def serve(self, begin: Callable[[], None]) -> None:
        """Serve until either side ends the connection, then close the socket."""
        await self.run(begin)
        closing = await self.finish()
        if closing:
            close = {"code": closing.code, "reason": closing.reason}
            with suppress(*DISCONNECTED):
                async with asyncio.timeout(self._services.timing.close):
                    await self._asgi_send({"type": "websocket.close", **close})

    async def transmit(self, message: bytes) -> None:
        """Send one text message."""
        await self._asgi_send({"type": "websocket.send", "text": message.decode()})

    async def receive_all(self) -> None:
        """Receive text messages; the session rejects any others."""
        while True:
            await self.wait_for_room()
            event = await self._asgi_receive()
            if event["type"] == "websocket.disconnect":
                return
            text, data = event.get("text"), event.get("bytes")
            self.receive(text if text is not None else data or b"")


class WebSocketConnection(ASGIWebSocket, Connection):
    """WebSocket of a client of ours."""

    transport = "websocket"
