"""Latency: to the last of many subscribers, and from another process to a client's handler."""

import asyncio
import os
import time
from statistics import quantiles
from typing import Any

from bench.fanout import server_with_clients
from bench.harness import LOAD_CORE, run_on_core
from bench.peers import Peer
from bench.servers.driver import SECRET
from bench.storms import our_server
from realtime_bridge import Broadcaster, Event
from realtime_bridge.client import HybridClient
from realtime_bridge.server.auth.tokens import Tokens


def publish_to_last(
    peer: Peer, subscribers: int, seconds: float, rate: int = 20
) -> dict[str, float]:
    """Return the latency from a publish to the last subscriber, in milliseconds."""
    with server_with_clients(peer, subscribers, 1, "--clock") as (server, load):
        server.send(f"run 1 1 200 0 0 {rate}")
        time.sleep(0.5)
        load.report()
        time.sleep(seconds)
        return _milliseconds(load.report()["last"])


def publish_to_handler(samples: int) -> dict[str, float]:
    """Return the latency from a publish through the server to a client's handler, in ms."""
    with our_server() as server, run_on_core(LOAD_CORE):
        url = f"http://127.0.0.1:{server.port}/realtime"
        return asyncio.run(_publish_to_handler(url, samples))


async def _publish_to_handler(url: str, samples: int) -> dict[str, float]:
    os.environ |= {"REALTIME_WEBSOCKET_URL": url, "REALTIME_SECRET": SECRET}
    token = Tokens(SECRET, issuer="realtime").issue("42", channels=["bench-*"])
    latencies: list[float] = []
    async with (
        Broadcaster.from_env() as broadcaster,
        HybridClient(url, ["bench-0"], token=token) as client,
    ):
        receiver = asyncio.ensure_future(_receive(client, latencies, samples))
        while not receiver.done():
            data = {"at": time.perf_counter(), "x": "x" * 170}
            await broadcaster.publish("bench-0", "bench.step", data)
            await asyncio.sleep(0.004)
        await receiver
    cuts = quantiles(latencies, n=1_000)
    return {"p50": 1e3 * cuts[499], "p99": 1e3 * cuts[989], "p999": 1e3 * cuts[998]}


async def _receive(client: HybridClient, latencies: list[float], samples: int) -> None:
    async for item in client:
        if isinstance(item, Event):
            latencies.append(time.perf_counter() - item.data["at"])
        if len(latencies) == samples + 50:
            del latencies[:50]  # the first arrived while the client was still connecting
            return


def _milliseconds(samples: dict[str, Any]) -> dict[str, float]:
    return {name: value if name == "count" else value / 1_000 for name, value in samples.items()}
