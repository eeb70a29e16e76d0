"""WebSockets of Pusher's clients, over ASGI."""

from realtime_bridge.protocol.session.session_commands import Close
from realtime_bridge.server.connections.websocket import ASGIWebSocket
from realtime_bridge.server.http.request import Receive, Request, Send
from realtime_bridge.server.pusher.connection import PusherConnection
from realtime_bridge.server.pusher.door import PusherServices


async def serve(
    services: PusherServices, key: str, request: Request, receive: Receive, send: Send
) -> None:
    """Accept an upgrade that is possible now, and serve the connection until it ends.

    Raises:
        HTTPError: 403, the page may not connect; 429, too many anonymous sockets.

    """
    services.authenticator.check_origin(request)
    close = services.door.rejection(key, request.query_params.get("protocol"))
    if close:
        # Pusher's clients read a close code alone, and no status of a refused upgrade.
        await send({"type": "websocket.accept"})
        await _close(send, close)
        return
    client = request.scope.get("client")
    address = str(client[0]) if client else ""
    services.door.acquire_anonymous(address)
    connection = PusherWebSocket(services, receive, send)
    connection.seat.begin(address)
    try:
        await send({"type": "websocket.accept"})
        await connection.serve(connection.open)
    finally:
        connection.depart()


class PusherWebSocket(ASGIWebSocket, PusherConnection):
    """WebSocket of one of Pusher's clients."""


async def _close(send: Send, close: Close) -> None:
    await send({"type": "websocket.close", "code": close.code, "reason": close.reason})
