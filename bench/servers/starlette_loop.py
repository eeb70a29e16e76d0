"""Server of Starlette (or FastAPI) with a set of sockets, and a loop of sends."""

import sys

from driver import PublishDriver
from envelope import envelope
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn_server import serve

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


serve(Starlette(routes=[WebSocketRoute("/ws", subscribe)]), PublishDriver(sys.argv[1], publish))
