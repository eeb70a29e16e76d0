"""Move from polling to sockets and back, by environment and restart, while events flow."""

import asyncio
import os
import time
from itertools import cycle
from pathlib import Path

from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from realtime_bridge import Broadcaster
from realtime_bridge.server.endpoints.connect import is_rolled_out
from realtime_bridge.settings import Settings
from realtime_bridge_backends.sqlite import SQLiteBackend
from tests.nodes.clients import Clients
from tests.nodes.cluster import Cluster, Published

CLIENTS = 200 if "FULL_LOAD" in os.environ else 20
CHANNELS = [f"job.{number}" for number in range(5)]
STEPS = (10, 50, 100, 0)
"""Percentages of users with push; before the first step it is 0."""

STEP_SECONDS = 60.0
"""The longest time of a step, among them that back to polling."""

EVENT_SECONDS = 0.02


async def test_clients_move_to_sockets_and_back_without_a_lost_event(tmp_path: Path) -> None:
    own = {"REALTIME_ROLLOUT_PERCENT": "0"}
    variables = {"REALTIME_LOG": "sqlite", "REALTIME_SQLITE_PATH": str(tmp_path / "log.db")}
    published, steps = Published(), []
    with Cluster(1, folder=tmp_path, variables=variables, own={0: own}) as cluster:
        url = f"http://127.0.0.1:{cluster.ports[0]}/realtime"
        async with (
            SQLiteBackend(tmp_path / "log.db") as log,
            Broadcaster(log=log) as broadcaster,
            Clients(url, CLIENTS, CHANNELS, each=1) as clients,
            ClientSession() as http,
        ):
            publishing = asyncio.create_task(publish(broadcaster, published))
            for percent in STEPS:
                own["REALTIME_ROLLOUT_PERCENT"] = str(percent)
                began = time.monotonic()
                await cluster.restart(0)
                await until_moved(http, url, percent)
                steps.append(time.monotonic() - began)
            publishing.cancel()
            await asyncio.wait([publishing])
            tops = await log.positions(CHANNELS)
            await clients.wait_until_at(tops, seconds=STEP_SECONDS)
    print(f"seconds of the steps {dict(zip(STEPS, steps, strict=True))}")
    clients.check(published)
    assert clients.resets == []
    assert sum(map(len, published.ids.values())) > 100


async def publish(broadcaster: Broadcaster, published: Published) -> None:
    for channel in cycle(CHANNELS):
        receipt = await broadcaster.publish(channel, "counted")
        published.ids[channel].add(receipt.id)
        await asyncio.sleep(EVENT_SECONDS)


async def until_moved(http: ClientSession, url: str, percent: int) -> None:
    """Wait until the users with push have a socket, and the others none."""
    settings = Settings(rollout_percent=percent)
    expected = sum(is_rolled_out(settings, f"user-{number}") for number in range(CLIENTS))
    async with asyncio.timeout(STEP_SECONDS):
        while await sockets(http, url) != expected:  # noqa: ASYNC110 -- no event reports it
            await asyncio.sleep(0.1)


async def sockets(http: ClientSession, url: str) -> float:
    async with http.get(f"{url}/metrics") as answer:
        for family in text_string_to_metric_families(await answer.text()):
            for sample in family.samples:
                if sample.labels.get("transport") == "websocket" and family.type == "gauge":
                    return sample.value
    return -1
