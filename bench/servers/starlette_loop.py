"""A Starlette (or FastAPI) endpoint that keeps a set of sockets, and sends to each in a loop."""

import sys

from driven import ClientRunner
from envelope import envelope
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorned import serve

sockets: set[WebSocket] = set()


async def subscribe(socket: WebSocket) -> None:
    await socket.accept()
    sockets.add(socket)
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        sockets.discard(socket)


async def publish(turn: list[tuple[str, dict[str, object]]]) -> None:
    for channel, data in turn:
        text = envelope(channel, data)
        for socket in list(sockets):
            await socket.send_text(text)


serve(Starlette(routes=[WebSocketRoute("/ws", subscribe)]), ClientRunner(sys.argv[1], publish))
