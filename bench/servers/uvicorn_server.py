"""ASGI applications of peers on uvicorn, with uvloop and httptools."""

import asyncio
import socket
from typing import Any

import uvicorn
import uvloop
from driver import PublishDriver


def serve(app: Any, driver: PublishDriver, **options: Any) -> None:
    """Serve `app` on a free port until standard input ends, with `driver` as the publisher."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    settings: dict[str, Any] = {
        "ws": "websockets-sansio",
        "ws_per_message_deflate": False,
        "log_level": "error",
        "loop": "uvloop",
        "backlog": 4096,
        **options,
    }

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            driver.start(listener.getsockname()[1])

    server = Server(uvicorn.Config(app, **settings))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve([listener]))
