"""Server of `websockets.broadcast`, on uvloop."""

import asyncio
import sys

import uvloop
from driver import PublishDriver
from envelope import envelope
from websockets.asyncio.server import ServerConnection, broadcast, serve

sockets: set[ServerConnection] = set()


async def subscribe(socket: ServerConnection) -> None:
    sockets.add(socket)
    try:
        await socket.wait_closed()
    finally:
        sockets.discard(socket)


async def publish(turn: list[tuple[str, dict[str, object]]]) -> None:
    for channel, data in turn:
        broadcast(sockets, envelope(channel, data))


async def main() -> None:
    driver = PublishDriver(sys.argv[1], publish)
    options = {"compression": None, "ping_interval": None, "backlog": 4096, "open_timeout": 60}
    async with serve(subscribe, "127.0.0.1", 0, **options) as server:
        driver.start(server.sockets[0].getsockname()[1])
        await asyncio.Future()


uvloop.run(main())
