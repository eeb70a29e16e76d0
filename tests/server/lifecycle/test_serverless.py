"""Tests of serverless hosts: one process per request, and no start of the bridge."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import orjson
import pytest
import pytest_asyncio
from aiohttp import ClientSession

from realtime_bridge.model.event import Event
from realtime_bridge.publishing.failover import CHANNEL
from realtime_bridge.server import Bridge
from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge.testing.providers import LocalPusher
from tests.server.harness import SECRET, context_of, make_settings, running
from tests.services.redis import RedisServer

FORM = b"socket_id=1.2&channel_name=private-realtime.user-42"
URLENCODED = "application/x-www-form-urlencoded"
Answer = tuple[int, dict[str, Any]]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), "--save", "") as server:
        yield server


@pytest_asyncio.fixture
async def pusher(
    monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer
) -> AsyncIterator[LocalPusher]:
    redis_server.client().flushall()
    async with LocalPusher() as pusher:
        for name, value in pusher.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("REALTIME_REDIS_URL", redis_server.url)
        yield pusher


Make = Callable[..., Bridge]


@pytest_asyncio.fixture
async def bridge(pusher: LocalPusher) -> AsyncIterator[Make]:
    """Create bridges as new processes would, and close their backends after the test."""
    bridges: list[Bridge] = []

    def make(**options: Any) -> Bridge:
        bridges.append(Bridge(make_settings(backend="pusher", **options)))
        return bridges[-1]

    yield make
    for one in bridges:
        broadcaster = context_of(one).pipeline.broadcaster
        for part in (broadcaster.log, broadcaster.backend):
            if part:
                await part.__aexit__(None, None, None)


def token() -> str:
    return Tokens(SECRET, issuer="realtime").issue("42", client="c_1")


async def request(
    bridge: Bridge,
    path: str,
    body: object,
    kind: str = "application/json",
    bearer: str | None = None,
    *,
    method: str = "POST",
    query: str = "",
) -> Answer:
    """Send an ASGI request to an application without a start."""
    messages: list[Any] = []
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    scope = {
        "type": "http",
        "method": method,
        "path": f"/realtime/{path}",
        "query_string": query.encode(),
        "headers": [
            (b"content-type", kind.encode()),
            (b"authorization", f"Bearer {bearer or token()}".encode()),
        ],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    await bridge(scope, receive, send)
    return messages[0]["status"], orjson.loads(messages[1]["body"])


async def test_first_request_of_a_process_needs_no_start(pusher: LocalPusher, bridge: Make) -> None:
    receipt = await bridge().publish("user-42", "job.step", 1)
    assert receipt.pushed
    assert receipt.position
    status, descriptor = await request(bridge(), "connect", {"client": "c_1"})
    assert (status, descriptor["provider"], descriptor["guarantee"]) == (200, "pusher", "log")
    routes = {"connect", "poll", "latest", "stream", "stop", "cancel", "answer", "auth"}
    assert descriptor["urls"].keys() == routes
    status, answer = await request(bridge(), "auth/pusher", FORM, URLENCODED)
    assert (status, list(answer)) == (200, ["auth"])
    position = {"epoch": receipt.position.epoch, "offset": 0}
    status, answer = await request(
        bridge(), "poll", {"positions": {"user-42": position}, "wait": 20}
    )
    assert [event["data"] for event in answer["channels"]["user-42"]["events"]] == [1]
    assert answer["status"] == {"log": "ok", "backend": "ok"}
    assert answer["generation"] == descriptor["generation"] > 0


async def test_publish_returns_after_the_push(pusher: LocalPusher, bridge: Make) -> None:
    await bridge().publish("user-42", "job.step", 1)
    assert pusher.calls == 1


async def test_request_leaves_no_task(pusher: LocalPusher, bridge: Make) -> None:
    before = asyncio.all_tasks()
    await request(bridge(), "connect", {})
    assert asyncio.all_tasks() == before


LOOPS = """
import asyncio
from realtime_bridge.server import Bridge

bridge = Bridge.from_env()
for number in range(3):
    print(asyncio.run(bridge.publish("user-42", "job.step", number)).pushed)
"""


async def test_each_publish_may_have_its_own_event_loop(pusher: LocalPusher) -> None:
    environment = os.environ | {"REALTIME_SECRET": SECRET}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LOOPS, env=environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert output.split() == [b"True"] * 3
    assert pusher.calls == 3


async def test_signal_mode_needs_no_start(bridge: Make, caplog: pytest.LogCaptureFixture) -> None:
    status, descriptor = await request(bridge(log="none"), "connect", {})
    assert (status, descriptor["guarantee"]) == (200, "signal")
    status, other = await request(bridge(log="none"), "connect", {})
    assert other["generation"] == descriptor["generation"]


async def test_stream_without_start_is_503(pusher: LocalPusher, bridge: Make) -> None:
    async with running(bridge(), lifespan="off") as origin, ClientSession() as http:
        headers = {"authorization": f"Bearer {token()}"}
        body = {"positions": {"user-42": None}}
        async with http.post(f"{origin}/realtime/sse", json=body, headers=headers) as answer:
            assert answer.status == 503
            assert (await answer.json())["error"]["code"] == "not_started"
        # Nothing will start here: an EventSource that came back would never succeed.
        async with http.get(f"{origin}/realtime/sse?channel=user-42", headers=headers) as answer:
            assert answer.status == 501
            assert (await answer.json())["error"]["code"] == "no_stream_here"


async def test_stream_is_read_and_stopped_by_single_requests(bridge: Make) -> None:
    fields: dict[str, Any] = {"channel": "user-42", "key": "stream-m1", "attempt": "A"}
    start = Event(**fields, event="stream.started", data={"format": "text"}, take="always")
    part = Event(**fields, event="stream.part", data=["a"], fold="append")
    await bridge().publish_many([start, part])
    query = "channel=user-42&id=m1&format="
    for form in ("events", "ui-message", "ag-ui"):
        status, answer = await request(bridge(), "stream", b"", method="GET", query=query + form)
        assert (status, answer["error"]["code"]) == (501, "no_stream_here")
    status, answer = await request(bridge(), "stream", b"", method="GET", query=query + "json")
    assert (status, answer["state"], answer["items"]) == (200, "open", ["a"])
    body = {"channel": "user-42", "stream": "m1"}
    assert await request(bridge(), "stream/stop", body) == (200, {"state": "stopped"})
    snapshot = await bridge().read_stream("user-42", "m1")
    assert snapshot
    assert snapshot.state == "stopped"
    assert not await bridge().stop_stream("user-42", "m1")


async def test_failover_of_another_process_raises_generation(bridge: Make) -> None:
    one = bridge(failover=("websocket",))
    _, before = await request(one, "connect", {})
    move = Event.internal(CHANNEL, "moved", b'{"backend":"websocket"}', key="backend")
    await context_of(one).pipeline.log.append([move])
    late = bridge(failover=("websocket",))
    _, after = await request(late, "connect", {})
    assert (before["provider"], after["provider"]) == ("pusher", "websocket")
    assert after["generation"] > before["generation"]


async def test_revocation_of_another_process_is_applied(pusher: LocalPusher, bridge: Make) -> None:
    before = token()
    await bridge().revoke(user="42")
    status, _ = await request(bridge(), "auth/pusher", FORM, URLENCODED, before)
    assert status == 401


async def test_authorization_works_while_the_log_is_down(
    bridge: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("REALTIME_REDIS_URL", "redis://127.0.0.1:1/0")
    with caplog.at_level(logging.WARNING):
        status, _ = await request(bridge(), "auth/pusher", FORM, URLENCODED)
    assert status == 200
    assert "cannot be read" in caplog.text
