"""Servers, links and processes of one schedule."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from msgspec.structs import asdict

from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge.testing import FaultyProxy
from tests.cli.processes import SECRET
from tests.lab.client import ClientTask
from tests.lab.history import CROWD, History, Record
from tests.lab.logs import create_log_server
from tests.lab.oracle import is_recovered
from tests.lab.processes import Recorder, node, python, resident_bytes
from tests.lab.schedule import Schedule
from tests.lab.traces import TRACES
from tests.lab.visitors import APP, OUTLET_SECRET, VisitorTask
from tests.nodes.balancer import Balancer
from tests.nodes.cluster import ROOT, Cluster
from tests.services.programs import free_port

READY_SECONDS = 60.0
CROWD_OF_A_PROCESS = 250
TOKEN_SECONDS = 24 * 3_600


class Deployment:
    """Log server, nodes behind a balancer, clients and a publisher, with a link between each two.

    Args:
        schedule: the schedule, which names backend, nodes and clients.
        folder: the folder of data and logs.
        bundle: the built npm client.

    """

    def __init__(self, schedule: Schedule, folder: Path, bundle: Path) -> None:
        self.schedule = schedule
        self.history = History()
        self.server = create_log_server(schedule.backend, folder)
        self.links: dict[str, FaultyProxy] = {}
        """Link of the clients `front`, of nodes `log:NUMBER`, and of the publisher."""
        self._folder = folder
        self._bundle = bundle
        self._clients: list[Recorder] = []
        self._exits = AsyncExitStack()
        self._target_port = free_port()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            await asyncio.to_thread(self.server.open)
            exits.callback(self.server.server.close)
            await self._start_nodes(exits)
            await self._start_clients(exits)
            await self.wait_ready()
            exits.push_async_callback(self.kill_publisher)
            await self.start_publisher()
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()

    async def _start_nodes(self, exits: AsyncExitStack) -> None:
        names = [f"log:{number}" for number in range(self.schedule.nodes)]
        for name in (*names, "log:publisher"):
            proxy = FaultyProxy(self.server.server.port)
            self.links[name] = await exits.enter_async_context(proxy)
        self.cluster = Cluster(
            self.schedule.nodes,
            folder=self._folder,
            variables=self._door_variables() if self.schedule.has_doors else {},
            options=("tests.lab.app:bridge",) if self.schedule.has_doors else (),
            own={number: self._variables(name) for number, name in enumerate(names)},
        )
        # In a thread: a node that starts connects through a link, which this loop serves.
        await asyncio.to_thread(self.cluster.__enter__)
        # In a thread too: the loop serves the links of other deployments.
        exits.push_async_callback(asyncio.to_thread, self.cluster.__exit__, None, None, None)
        self.balancer = await exits.enter_async_context(Balancer(self.cluster.ports))
        front = FaultyProxy(self.balancer.port)
        self.links["front"] = await exits.enter_async_context(front)

    async def _start_clients(self, exits: AsyncExitStack) -> None:
        schedule = self.schedule
        names = [f"py-{transport}-{n}" for n, transport in enumerate(schedule.python)]
        await self._start_python(exits, names)
        await self._start_npm(exits)
        if schedule.has_doors:
            await self._start_visitors(exits)
        for start in range(0, schedule.crowd, CROWD_OF_A_PROCESS):
            end = min(start + CROWD_OF_A_PROCESS, schedule.crowd)
            names = [f"{CROWD}-auto-{n}" for n in range(start, end)]
            await self._start_python(exits, names, each=2, lifetime=schedule.lifetime)

    async def _start_python(
        self, exits: AsyncExitStack, names: list[str], *, each: int = 0, lifetime: float = 0.0
    ) -> None:
        task = ClientTask(
            url=f"{self.links['front'].url}/realtime",
            names=names,
            channels=list(self.schedule.rates),
            each=each,
            lifetime=lifetime,
        )
        await self._start(exits, python("tests.lab.client", asdict(task)), "python.log")

    async def _start_npm(self, exits: AsyncExitStack) -> None:
        channels = list(self.schedule.rates)
        tokens = Tokens(SECRET, issuer="realtime")
        task = {
            "url": f"{self.links['front'].url}/realtime",
            "token": tokens.issue("npm", channels=channels, seconds=TOKEN_SECONDS),
            "channels": channels,
            "names": [f"npm-{name}-{number}" for number, name in enumerate(self.schedule.npm)],
        }
        await self._start(exits, node(self._bundle, task), "npm.log")

    async def _start_visitors(self, exits: AsyncExitStack) -> None:
        # At the nodes themselves: the links are for the clients, which notice what they lose.
        nodes = [f"http://127.0.0.1:{port}" for port in self.cluster.ports]
        task = VisitorTask(nodes, list(self.schedule.rates), self._target_port)
        await self._start(exits, python("tests.lab.visitors", asdict(task)), "visitors.log")

    def _door_variables(self) -> dict[str, str]:
        return {
            "LAB_TARGET": f"http://127.0.0.1:{self._target_port}/",
            "PYTHONPATH": str(ROOT),
            "REALTIME_OUTLET_PRIVATE": "on",
            "REALTIME_OUTLET_SECRET": OUTLET_SECRET,
            "REALTIME_PUSHER_APP_ID": APP.app_id,
            "REALTIME_PUSHER_DOOR": "on",
            "REALTIME_PUSHER_KEY": APP.key,
            "REALTIME_PUSHER_SECRET": APP.secret,
        }

    async def _start(self, exits: AsyncExitStack, command: list[str], errors: str) -> None:
        recorder = Recorder(command, add=self.history.add, errors=self._folder / errors)
        self._clients.append(await exits.enter_async_context(recorder))

    async def wait_ready(self) -> None:
        """Wait until all clients are subscribed and healthy."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                if self._is_ready():
                    return
                await asyncio.sleep(0.1)

    def _is_ready(self) -> bool:
        clients = len(self.schedule.python) + len(self.schedule.npm) + self.schedule.crowd
        are_subscribed = len(list(self.history.of("ready"))) >= clients
        return are_subscribed and is_recovered(self.history, time.time())

    async def start_publisher(self) -> None:
        """Start the publisher."""
        argument = {"name": "publisher", "rates": dict(self.schedule.rates)}
        self.publisher = Recorder(
            python("tests.lab.publisher", argument),
            add=self.history.add,
            errors=self._folder / "publisher.log",
            variables=self._variables("log:publisher")
            | ({TRACES: "on"} if self.schedule.has_doors else {}),
        )
        await self.publisher.__aenter__()

    async def kill_publisher(self) -> None:
        """Kill the publisher with SIGKILL."""
        await self.publisher.kill()

    def sample_memory(self) -> None:
        """Record the resident memory of each node."""
        for number in range(self.schedule.nodes):
            size = resident_bytes(self.cluster.pid(number))
            self.history.records.append(Record(time.time(), f"node:{number}", "memory", size=size))

    async def finish_clients(self) -> None:
        """End the clients, and wait until all their records are here."""
        await asyncio.gather(*(client.finish() for client in self._clients))

    def _variables(self, link: str) -> dict[str, str]:
        port = urlsplit(self.links[link].url).port
        assert port
        return self.server.variables(port)
