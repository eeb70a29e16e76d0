"""Change of the log under load: servers first, workers later; no acknowledged event is lost."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from realtime_bridge import Broadcaster
from realtime_bridge_backends.redis import RedisBackend
from tests.cli.processes import command
from tests.nodes.clients import RecordingClient
from tests.nodes.cluster import Cluster
from tests.services.redis import RedisServer

CHANNEL = "job.7"


class Worker:
    """Publisher of one event after another; it stores the ids that the log acknowledged."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.ids: list[str] = []
        self.changed = asyncio.Event()

    async def run(self) -> None:
        async with Broadcaster(log=RedisBackend(self._url)) as broadcaster:
            while True:
                receipt = await broadcaster.publish(CHANNEL, "job.step", len(self.ids))
                self.ids.append(receipt.id)
                self.changed.set()
                await asyncio.sleep(0.005)

    async def wait_for(self, count: int) -> str:
        """Wait for so many more events, and return the id of the last one."""
        expected = len(self.ids) + count
        while len(self.ids) < expected:
            self.changed.clear()
            await self.changed.wait()
        return self.ids[-1]


class Client(RecordingClient):
    """Client of the server, whose log changes."""

    async def wait_for_resets(self, count: int) -> None:
        while len(self.resets) < count:
            self.changed.clear()
            await self.changed.wait()

    async def wait_for_event(self, event_id: str) -> None:
        while event_id not in self.ids[CHANNEL]:
            self.changed.clear()
            await self.changed.wait()

    def check_all(self, ids: Sequence[str]) -> None:
        """Check that these events arrived in order, and none twice."""
        received = self.ids[CHANNEL]
        assert len(received) == len(set(received))
        assert [event_id for event_id in received if event_id in set(ids)] == [*ids]


class Deployment:
    """Server that moves to a new log, and the command that forwards what the old one receives."""

    def __init__(self, old_url: str, new_url: str, folder: Path, exits: ExitStack) -> None:
        variables = {"REALTIME_BACKEND": "redis", "REALTIME_REDIS_URL": old_url}
        self._cluster = exits.enter_context(Cluster(1, folder=folder, variables=variables))
        self._cluster.variables["REALTIME_REDIS_URL"] = new_url
        self._folder = folder
        self._exits = exits
        (folder / "old.env").write_text(f"REALTIME_REDIS_URL={old_url}\n")
        self.url = f"http://127.0.0.1:{self._cluster.ports[0]}/realtime"

    async def change(self, client: Client, worker: Worker, *, is_late: bool) -> None:
        """Restart the server with the new log, after or before the events are forwarded."""
        if not is_late:
            await self._forward()
        await self._cluster.restart(0)
        if is_late:
            await client.wait_for_resets(1)
            await worker.wait_for(50)
            await self._forward()

    async def _forward(self) -> None:
        """Start to forward, and wait for the end of the first pass."""
        variables = self._cluster.variables
        forwarding = command("forward", "old.env", folder=self._folder, variables=variables)
        process = self._exits.enter_context(forwarding)
        await asyncio.to_thread(process.line, "forwarding from Redis at")


@pytest.fixture
def new_redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "new", "--save", "") as server:
        yield server


@pytest.mark.parametrize("is_late", [False, True], ids=["forward_first", "forward_late"])
async def test_worker_on_the_old_log_reaches_clients_of_new_servers(
    redis_server: RedisServer, new_redis: RedisServer, tmp_path: Path, *, is_late: bool
) -> None:
    old, new = Worker(redis_server.url), Worker(new_redis.url)
    with ExitStack() as exits:
        deployment = Deployment(redis_server.url, new_redis.url, tmp_path, exits)
        client = Client(deployment.url, "ada", [CHANNEL])
        async with asyncio.timeout(60), client.client, asyncio.TaskGroup() as tasks:
            await client.subscribe()
            listening = tasks.create_task(client.listen())
            working = tasks.create_task(old.run())
            await old.wait_for(20)
            await deployment.change(client, old, is_late=is_late)
            await client.wait_for_resets(1 + is_late)
            covered = len(old.ids)
            await old.wait_for(100)
            working.cancel()
            working = tasks.create_task(new.run())
            await client.wait_for_event(old.ids[-1])
            await client.wait_for_event(await new.wait_for(20))
            working.cancel()
            listening.cancel()
    assert [reset.reason for reset in client.resets] == ["epoch"] * (1 + is_late)
    client.check_all(old.ids[covered:])
