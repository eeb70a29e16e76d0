"""A client's WebSocket, over ASGI."""

import asyncio
from contextlib import suppress

from realtime_bridge.protocol.wire import messages
from realtime_bridge.server.auth.rules import own_channel
from realtime_bridge.server.connections import connection as connections
from realtime_bridge.server.connections.asgi import GONE, ASGIConnection
from realtime_bridge.server.context import ServerContext
from realtime_bridge.server.http.request import Receive, Request, Scope, Send


async def serve(
    engine: ServerContext, request: Request, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer an upgrade, and serve the connection until it ends.

    Raises:
        HTTPError: the page may not connect.

    """
    user = engine.admit(request)
    offered = scope.get("subprotocols", ())
    subprotocol = messages.SUBPROTOCOL if messages.SUBPROTOCOL in offered else None
    await send({"type": "websocket.accept", "subprotocol": subprotocol})
    connection = WebSocketConnection(engine, receive, send)
    await connection.run(user, {own_channel(user.user): None} if user else {})
    closing = await connection.finish()
    if closing:
        close = {"code": closing.code, "reason": closing.reason}
        with suppress(*GONE):
            async with asyncio.timeout(connections.CLOSE_SECONDS):
                await send({"type": "websocket.close", **close})


class WebSocketConnection(ASGIConnection):
    """A connection both sides of which send frames."""

    def __init__(self, engine: ServerContext, receive: Receive, send: Send) -> None:
        super().__init__(engine)
        self._receive = receive
        self._send = send

    async def write(self, frame: bytes) -> None:
        """Send one text message."""
        await self._send({"type": "websocket.send", "text": frame.decode()})

    async def listen(self) -> None:
        """Take text messages, and let the session refuse any others."""
        while True:
            await self.has_room()
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            text, data = message.get("text"), message.get("bytes")
            self.take(text if text is not None else data or b"")
