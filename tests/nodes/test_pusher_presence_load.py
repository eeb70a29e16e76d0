"""Pusher's clients on three nodes, each user with three tabs; one node is killed."""

import asyncio
import json
from collections import Counter
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.nodes.cluster import Cluster
from tests.nodes.load import FULL
from tests.nodes.test_redis_load import variables
from tests.server.pusher.clients import APP, ENVIRONMENT, PusherClient
from tests.services.redis import RedisServer

ROOM = "presence-document.7"
USERS = 200 if FULL else 6
NODES, KILLED = 3, 2
SECONDS = 45.0
"""The longest time until every list is true after the node was killed."""

JOIN_SECONDS = 120.0


class Tab:
    """Page of one user that keeps its members as pusher-js does, and connects again."""

    def __init__(self, ports: list[int], node: int, user: str) -> None:
        self.node = node
        self.user = user
        self.members: set[str] = set()
        self.changes: Counter[tuple[str, str]] = Counter()
        self.changed = asyncio.Event()
        self._ports = ports

    async def follow(self) -> None:
        """Stay connected, after the loss of a node to the next one."""
        while True:
            url = f"ws://127.0.0.1:{self._ports[self.node]}/app/{APP.key}?protocol=7"
            try:
                async with connect(url, compression=None, proxy=None) as socket:
                    await self._follow(PusherClient(socket))
            except (ConnectionClosed, OSError):
                self.node = (self.node + 1) % NODES

    async def _follow(self, client: PusherClient) -> None:
        await client.greeted()
        await client.ask_to_enter(ROOM, self.user, {"name": self.user})
        async for text in client.socket:
            frame = json.loads(text)
            kind = frame["event"].removeprefix("pusher_internal:")
            data = json.loads(frame.get("data") or "{}")
            if kind == "subscription_succeeded":
                self.members = set(data["presence"]["ids"])
            elif kind in ("member_added", "member_removed"):
                self.changes[kind, data["user_id"]] += 1
                change = self.members.add if kind == "member_added" else self.members.discard
                change(data["user_id"])
            elif kind == "pusher:ping":
                await client.send("pusher:pong", {})
            self.changed.set()

    async def until(self, members: set[str]) -> None:
        while self.members != members:
            self.changed.clear()
            await self.changed.wait()


async def all_show(tabs: list[Tab], members: set[str], seconds: float) -> float:
    """Wait until each tab shows these members, and return the time that it took."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with asyncio.timeout(seconds):
        await asyncio.gather(*(tab.until(members) for tab in tabs))
    return loop.time() - begin


async def test_lists_of_pushers_clients_are_true_after_a_kill(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    users = {f"u{number}" for number in range(USERS)}
    leavers = {f"u{number}" for number in range(0, USERS, 5)} | {"alone"}
    door = {**variables(redis_server.url), **ENVIRONMENT, "REALTIME_PUSHER_DOOR": "true"}
    with Cluster(NODES, folder=tmp_path, variables=door) as cluster:
        tabs = [Tab(cluster.ports, node, user) for user in sorted(users) for node in range(NODES)]
        # One user has no other node than the killed one, and does not come back.
        tabs.append(Tab(cluster.ports, KILLED, "alone"))
        async with asyncio.TaskGroup() as tasks:
            following = {tab: tasks.create_task(tab.follow()) for tab in tabs}
            joined = await all_show(tabs, users | {"alone"}, JOIN_SECONDS)
            stayed = [tab for tab in tabs if tab.node != KILLED and tab.user not in leavers]
            for tab in tabs:
                if tab.user in leavers:
                    following.pop(tab).cancel()
            cluster.kill(KILLED)
            staying = list(following)
            taken = await all_show(staying, users - leavers, SECONDS)
            print(f"all joined after {joined:.1f} s, every list was true after {taken:.1f} s")
            for tab in stayed:
                left = {user for kind, user in tab.changes if kind == "member_removed"}
                assert set(tab.changes.values()) <= {1}, tab.changes
                assert left == leavers
            for task in following.values():
                task.cancel()
