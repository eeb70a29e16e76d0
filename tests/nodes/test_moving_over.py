"""Move from polling to sockets and back, by environment and restart, while events flow."""

import asyncio
import os
import time
from collections.abc import Mapping
from itertools import cycle, pairwise
from pathlib import Path

from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from realtime_bridge import Broadcaster
from realtime_bridge.model.position import Position
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
    published = Published()
    with Cluster(1, folder=tmp_path, variables=variables, own={0: own}) as cluster:
        url = f"http://127.0.0.1:{cluster.ports[0]}/realtime"
        async with (
            SQLiteBackend(tmp_path / "log.db") as log,
            Broadcaster(log=log) as broadcaster,
            Clients(url, CLIENTS, CHANNELS, each=1) as clients,
        ):
            publishing = asyncio.create_task(publish(broadcaster, published))
            for percent in STEPS:
                own["REALTIME_ROLLOUT_PERCENT"] = str(percent)
                async with asyncio.timeout(STEP_SECONDS):
                    await move(cluster, clients, log, percent)
                assert await sockets(url) == rolled_out(percent).count(True)
            publishing.cancel()
            await asyncio.wait([publishing])
            await clients.wait_until_at(await log.positions(CHANNELS), seconds=STEP_SECONDS)
    clients.check(published)
    assert clients.resets == []
    assert sum(map(len, published.ids.values())) > 100


async def move(cluster: Cluster, clients: Clients, log: SQLiteBackend, percent: int) -> None:
    """Restart the server, wait until all clients have followed, and print the durations."""
    times, used = [time.monotonic()], time.process_time()
    await cluster.stop(0)
    times.append(time.monotonic())
    await cluster.start(0)
    times.append(time.monotonic())
    await until_moved(clients, await log.positions(CHANNELS), percent)
    times.append(time.monotonic())
    stop, start, follow = (end - begin for begin, end in pairwise(times))
    used = time.process_time() - used
    print(f"{percent} %: {stop:.1f} s stop, {start:.1f} s start, {follow:.1f} s", end="")
    print(f" until all clients have followed; {used:.1f} s of CPU here")


async def publish(broadcaster: Broadcaster, published: Published) -> None:
    for channel in cycle(CHANNELS):
        receipt = await broadcaster.publish(channel, "counted")
        published.ids[channel].add(receipt.id)
        await asyncio.sleep(EVENT_SECONDS)


def rolled_out(percent: int) -> list[bool]:
    """Return for each client whether it is to have push."""
    settings = Settings(rollout_percent=percent)
    return [is_rolled_out(settings, f"user-{number}") for number in range(CLIENTS)]


async def until_moved(clients: Clients, tops: Mapping[str, Position], percent: int) -> None:
    """Wait until each client receives as it is to, and has the events up to these positions."""
    expected = ["realtime" if has_push else "polling" for has_push in rolled_out(percent)]
    while clients.statuses != expected or not clients.have_reached(tops):  # noqa: ASYNC110 -- no event reports it
        await asyncio.sleep(0.1)


async def sockets(url: str) -> float:
    async with ClientSession() as http, http.get(f"{url}/metrics") as answer:
        for family in text_string_to_metric_families(await answer.text()):
            for sample in family.samples:
                if sample.labels.get("transport") == "websocket" and family.type == "gauge":
                    return sample.value
    return -1
