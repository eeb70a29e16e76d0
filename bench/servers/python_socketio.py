"""Server of python-socketio with a room, on uvicorn."""

import sys

import socketio
from driver import PublishDriver
from envelope import envelope
from uvicorn_server import serve

server = socketio.AsyncServer(async_mode="asgi", ping_interval=300, transports=["websocket"])


@server.event
async def connect(sid: str, _environ: object) -> None:
    await server.enter_room(sid, "bench-0")


async def publish(turn: list[tuple[str, dict[str, object]]]) -> None:
    for channel, data in turn:
        await server.emit("bench.step", envelope(channel, data), room=channel)


serve(socketio.ASGIApp(server), PublishDriver(sys.argv[1], publish))
