"""Server of socketify: publish and subscribe of uWebSockets, from Python."""

import asyncio
import sys

from driver import PublishDriver
from envelope import envelope
from socketify import App, AppListenOptions, OpCode

app = App()


def subscribe(socket: object) -> None:
    socket.subscribe("bench-0")


async def publish(turn: list[tuple[str, dict[str, object]]]) -> None:
    for channel, data in turn:
        app.publish(channel, envelope(channel, data), OpCode.TEXT)


driver = PublishDriver(sys.argv[1], publish)
app.ws("/ws", {"open": subscribe, "idle_timeout": 0, "max_backpressure": 16 * 1024 * 1024})


async def start(port: int) -> None:
    driver.start(port)


def on_listen(config: AppListenOptions) -> None:
    app.loop.run_async(start(config.port))


asyncio.set_event_loop_policy(None)
app.listen(AppListenOptions(port=int(sys.argv[2]), host="127.0.0.1"), on_listen)
app.run()
