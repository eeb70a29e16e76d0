"""realtime_bridge, the full path: publish, log, hub, socket, with positions."""

import asyncio
import json
import socket
import sys
import time
from typing import Any

import uvicorn
import uvloop
from driven import SECRET, ClientRunner

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
    """Give each channel a history, and print where each begins."""
    begins = []
    for number in range(channels):
        made = [
            Event(channel=f"bench-{number}", event="bench.step", data={"x": "x" * 190})
            for _ in range(events)
        ]
        receipts = await bridge.publish_many(made)
        begins.append(receipts[0].position.epoch)
    print(json.dumps(begins), flush=True)


async def _time_publishing(bridge: Bridge, channels: int, events: int, batch: int) -> None:
    """Publish to channels that nobody watches, and print how many a second."""
    data = {"x": "x" * 190}
    begun, cpu = time.perf_counter(), time.process_time()
    for number in range(events // batch):
        channel = f"quiet-{number % channels}"
        if batch == 1:
            await bridge.publish(channel, "bench.step", data)
        else:
            await bridge.publish_many(
                [Event(channel=channel, event="bench.step", data=data) for _ in range(batch)]
            )
    took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    print(json.dumps({"rate": events / took, "cpu_us": 1e6 * cpu / events}), flush=True)


def main(counters: str, shell: str) -> None:
    settings: dict[str, Any] = {"secret": SECRET, "backend": "websocket"}
    bridge = Bridge(Settings(**settings))
    driver = ClientRunner(counters, lambda turn: _publish(bridge, turn))
    driver.more["fill"] = lambda *counts: _fill(bridge, *counts)
    driver.more["time"] = lambda *counts: _time_publishing(bridge, *counts)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            driver.attend(listening.getsockname()[1])

    options = {"log_level": "error", "backlog": 4096, "ws_per_message_deflate": False}
    server = Server(uvicorn.Config(bridge, ws=shell, access_log=False, **options))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve([listening]))


main(*sys.argv[1:])
