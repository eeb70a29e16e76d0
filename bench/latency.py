"""Latency: to the last of many subscribers, and from another process to a client's handler."""

import asyncio
import os
import time
from statistics import quantiles
from typing import Any

from bench.fanout import connected
from bench.peers import Peer
from bench.servers.driven import SECRET
from bench.site import LOAD_CORE, moved_to
from bench.storms import ours
from realtime_bridge import Broadcaster, Event
from realtime_bridge.client import HybridClient
from realtime_bridge.server.auth.tokens import Tokens


def last_of_all(peer: Peer, subscribers: int, seconds: float, rate: int = 20) -> dict[str, float]:
    """Return how long a publish takes to the last subscriber, in milliseconds."""
    with connected(peer, subscribers, 1, "--clock") as (server, load):
        server.tell(f"run 1 1 200 0 0 {rate}")
        time.sleep(0.5)
        load.report()
        time.sleep(seconds)
        return _milliseconds(load.report()["last"])


def to_a_handler(samples: int) -> dict[str, float]:
    """Return how long a publish takes from this process through the server to a handler."""
    with ours() as server, moved_to(LOAD_CORE):
        url = f"http://127.0.0.1:{server.port}/realtime"
        return asyncio.run(_to_a_handler(url, samples))


async def _to_a_handler(url: str, samples: int) -> dict[str, float]:
    os.environ |= {"REALTIME_WEBSOCKET_URL": url, "REALTIME_SECRET": SECRET}
    token = Tokens(SECRET, issuer="realtime").issue("42", channels=["bench-*"])
    taken: list[float] = []
    async with (
        Broadcaster.from_env() as broadcaster,
        HybridClient(url, ["bench-0"], token=token) as client,
    ):
        heard = asyncio.ensure_future(_hear(client, taken, samples))
        while not heard.done():
            sent = {"at": time.perf_counter(), "x": "x" * 170}
            await broadcaster.publish("bench-0", "bench.step", sent)
            await asyncio.sleep(0.004)
        await heard
    cuts = quantiles(taken, n=1_000)
    return {"p50": 1e3 * cuts[499], "p99": 1e3 * cuts[989], "p999": 1e3 * cuts[998]}


async def _hear(client: HybridClient, taken: list[float], samples: int) -> None:
    async for item in client:
        if isinstance(item, Event):
            taken.append(time.perf_counter() - item.data["at"])
        if len(taken) == samples + 50:
            del taken[:50]  # the first came while the client was still connecting
            return


def _milliseconds(samples: dict[str, Any]) -> dict[str, float]:
    return {name: value if name == "count" else value / 1_000 for name, value in samples.items()}
