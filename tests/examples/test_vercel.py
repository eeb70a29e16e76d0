"""Example for serverless hosts: a new process per request, without state between them."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from realtime_bridge import Event
from realtime_bridge.client import ChannelDenied, ChannelReset, HybridClient
from realtime_bridge.model.position import Position
from realtime_bridge.testing.providers import LocalAbly
from tests.services.redis import RedisServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "vercel"
ONE_REQUEST = Path(__file__).with_name("one_request.py")
CHANNEL = "user-demo"
TIMEOUT = 60.0

Environment = dict[str, str]


class Host:
    """Serverless host that runs a process per request."""

    def __init__(self, environment: Environment) -> None:
        self.processes = 0
        self.errors: list[str] = []
        self._environment = environment

    async def handle(self, request: web.Request) -> web.Response:
        self.processes += 1
        description = {
            "method": request.method,
            "path": request.path,
            "query": request.query_string,
            "headers": list(request.headers.items()),
            "body": base64.b64encode(await request.read()).decode(),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ONE_REQUEST),
            cwd=EXAMPLE,
            env=self._environment,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
        )
        output, errors = await process.communicate(json.dumps(description).encode())
        self.errors += errors.decode().splitlines()
        response = json.loads(output)
        return web.Response(
            status=response["status"],
            headers=[field for field in response["headers"] if field[0] != "content-length"],
            text=response["body"],
        )


@pytest.fixture
async def environment(tmp_path: Path) -> AsyncIterator[Environment]:
    others = {name: value for name, value in os.environ.items() if "REALTIME_" not in name}
    with RedisServer(tmp_path, "--save", "") as redis:
        async with LocalAbly() as ably:
            secret = "a secret for tests of more than 32 bytes"
            ours = {"REDIS_URL": redis.url, "REALTIME_SECRET": secret, "EXPORT_SECONDS": "0.5"}
            yield others | ours | ably.environment


@pytest.fixture
async def host(environment: Environment) -> Host:
    return Host(environment)


@pytest.fixture
async def url(host: Host) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", host.handle)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@contextmanager
def worker(environment: Environment) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "worker.py"], cwd=EXAMPLE, env=environment) as process:
        yield
        process.kill()


async def post(http: ClientSession, url: str, **options: Any) -> tuple[int, Any]:
    async with http.post(url, **options) as response:
        return response.status, await response.json()


async def test_every_route_works_in_a_new_process_per_request(host: Host, url: str) -> None:
    async with ClientSession() as http:
        status, descriptor = await post(http, f"{url}/realtime/connect", json={})
        assert (status, descriptor["mode"], descriptor["guarantee"]) == (200, "realtime", "log")
        name = descriptor["options"]["channel_prefix"] + CHANNEL
        status, grant = await post(http, f"{url}/realtime/auth/ably", json={"channels": name})
        assert (status, grant["clientId"]) == (200, "demo")

        positions = {"positions": {CHANNEL: None}}
        status, first_page = await post(http, f"{url}/realtime/poll", json=positions)
        assert (status, first_page["generation"]) == (200, descriptor["generation"])
        before = first_page["channels"][CHANNEL]["position"]
        status, queued = await post(http, f"{url}/api/exports")
        assert status == 202
        later = {"positions": {CHANNEL: before}, "wait": 20}
        status, page = await post(http, f"{url}/realtime/poll", json=later)
        (event,) = page["channels"][CHANNEL]["events"]
        assert (event["event"], event["data"]) == ("job.queued", queued)
        async with http.get(f"{url}/realtime/latest?channel={CHANNEL}") as response:
            assert (await response.json())["events"] == [event]
    assert host.processes == 6
    assert host.errors == []


async def test_events_of_the_worker_arrive_once_in_order(
    url: str, environment: Environment
) -> None:
    items: list[Event | ChannelReset | ChannelDenied] = []
    client = HybridClient(f"{url}/realtime", [CHANNEL], token=token(environment))
    with worker(environment):
        async with client, ClientSession() as http, asyncio.timeout(TIMEOUT):
            _, start = await client.wait_subscribed()
            await post(http, f"{url}/api/exports")
            async for item in client:
                items.append(item)
                if isinstance(item, Event) and item.event == "job.completed":
                    break
    events = [item for item in items if isinstance(item, Event)]
    assert [event.event for event in events] == [
        "job.queued",
        *["job.progress"] * 10,
        "job.completed",
    ]
    assert [event.position for event in events] == [
        Position(start.epoch, offset) for offset in range(1, 13)
    ]


def token(environment: Environment) -> str:
    from realtime_bridge.server.auth.tokens import Tokens

    return Tokens(environment["REALTIME_SECRET"], issuer="realtime").issue("demo")
