"""python-socketio in a room, on uvicorn."""

import sys

import socketio
from driven import ClientRunner
from envelope import envelope
from uvicorned import serve

server = socketio.AsyncServer(async_mode="asgi", ping_interval=300, transports=["websocket"])


@server.event
async def connect(sid: str, _environ: object) -> None:
    await server.enter_room(sid, "bench-0")


async def publish(turn: list[tuple[str, dict[str, object]]]) -> None:
    for channel, data in turn:
        await server.emit("bench.step", envelope(channel, data), room=channel)


serve(socketio.ASGIApp(server), ClientRunner(sys.argv[1], publish))
