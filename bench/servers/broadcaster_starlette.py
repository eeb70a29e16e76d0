"""Server of encode/broadcaster in memory, with Starlette: the example of its README."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from broadcaster import Broadcast
from driver import PublishDriver
from envelope import envelope
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from uvicorn_server import serve

broadcast = Broadcast("memory://")


async def subscribe(socket: WebSocket) -> None:
    await socket.accept()
    async with broadcast.subscribe("bench-0") as subscriber:
        async for event in subscriber:
            await socket.send_text(event.message)


async def publish(turn: list[tuple[str, dict[str, object]]]) -> None:
    for channel, data in turn:
        await broadcast.publish(channel, envelope(channel, data))


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    async with broadcast:
        yield


app = Starlette(routes=[WebSocketRoute("/ws", subscribe)], lifespan=lifespan)
serve(app, PublishDriver(sys.argv[1], publish))
