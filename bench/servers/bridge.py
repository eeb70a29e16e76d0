"""Server of realtime_bridge with the full path: publish, log, hub, socket, positions."""

import asyncio
import json
import os
import socket
import sys
import time
from typing import Any

import uvicorn
import uvloop
from driver import SECRET, PublishDriver

from realtime_bridge import Event
from realtime_bridge.server import Bridge
from realtime_bridge.settings import Settings


async def _publish(bridge: Bridge, turn: list[tuple[str, dict[str, object]]]) -> None:
    if len(turn) == 1:
        await bridge.publish(turn[0][0], "bench.step", turn[0][1])
        return
    await bridge.publish_many(
        [Event(channel=channel, event="bench.step", data=data) for channel, data in turn]
    )


async def _fill(bridge: Bridge, channels: int, events: int) -> None:
    """Publish a history on each channel, and print the epochs."""
    epochs = []
    for number in range(channels):
        history = [
            Event(channel=f"bench-{number}", event="bench.step", data={"x": "x" * 190})
            for _ in range(events)
        ]
        receipts = await bridge.publish_many(history)
        epochs.append(receipts[0].position.epoch)
    print(json.dumps(epochs), flush=True)


async def _time_publishing(bridge: Bridge, channels: int, events: int, batch: int) -> None:
    """Publish to channels without subscribers, and print the rate and the cost."""
    data = {"x": "x" * 190}
    start, cpu = time.perf_counter(), time.process_time()
    for number in range(events // batch):
        channel = f"quiet-{number % channels}"
        if batch == 1:
            await bridge.publish(channel, "bench.step", data)
        else:
            await bridge.publish_many(
                [Event(channel=channel, event="bench.step", data=data) for _ in range(batch)]
            )
    duration, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(json.dumps({"rate": events / duration, "cpu_us": 1e6 * cpu / events}), flush=True)


def main(counters: str, websocket: str) -> None:
    backend = os.environ.get("REALTIME_BACKEND", "websocket")
    settings: dict[str, Any] = {"secret": SECRET, "backend": backend}
    if "REALTIME_PUSHER_DOOR" in os.environ:
        # All clients of the bench have one address.
        settings |= {"pusher_door": True, "limit_connections_per_user": 20_000}
    bridge = Bridge(Settings(**settings))
    driver = PublishDriver(counters, lambda turn: _publish(bridge, turn))
    driver.extra_commands["fill"] = lambda *counts: _fill(bridge, *counts)
    driver.extra_commands["time"] = lambda *counts: _time_publishing(bridge, *counts)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            driver.start(listener.getsockname()[1])

    # The classes of `realtime-bridge serve`, except where a scenario has uvicorn's own.
    http = "realtime_bridge.server.connections.fast.http:HTTP"
    options: dict[str, Any] = {
        "http": "auto" if websocket == "websockets-sansio" else http,
        "log_level": "error",
        "backlog": 4096,
        "ws_per_message_deflate": False,
    }
    server = Server(uvicorn.Config(bridge, ws=websocket, access_log=False, **options))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve([listener]))


main(*sys.argv[1:])
