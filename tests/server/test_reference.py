"""Tests that docs/reference/ has every operation, message and word of the server, and no other."""

import ast
import asyncio
import re
from typing import Any

import orjson
import pytest
from openapi_spec_validator import validate

from realtime_bridge import JobCancelledError
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease
from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.protocol.wire import messages as wire
from realtime_bridge.protocol.wire import rpc
from realtime_bridge.server.timing import ServerTiming
from tests.docs.test_code_blocks import ROOT
from tests.server.endpoints.test_jobs import CHANNEL, events
from tests.server.endpoints.test_stream import begin
from tests.server.harness import PORTABLE, TIMEOUT, Client, Serve, Site
from tests.server.pusher.clients import APP, ENVIRONMENT, connect_pusher
from tests.server.pusher.test_calls import call, event
from tests.server.reference import OPENAPI, check_frame, check_payload, messages, operations

SOURCES = sorted((ROOT / "realtime_bridge").rglob("*.py"))


@pytest.fixture
def shell() -> str:
    """Run each test over the shell that the recorder reads: all others compare frames too."""
    return PORTABLE


def words_of_errors() -> set[str]:
    """Return the words that the sources give to errors of requests."""
    words = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "HTTPError":
                word = node.args[1] if len(node.args) > 1 else None
                if isinstance(word, ast.Constant):
                    words.add(str(word.value))
    return words


def test_openapi_file_is_valid() -> None:
    validate(OPENAPI)


def test_every_word_of_an_error_is_in_the_reference() -> None:
    schema = OPENAPI["components"]["schemas"]["Error"]["properties"]["error"]
    named = set(schema["properties"]["code"]["enum"])
    assert words_of_errors() <= named
    texts = "".join(path.read_text() for path in SOURCES)
    unknown = {word for word in named if f'"{word}"' not in texts}
    assert unknown == {"bad_job", "bad_question"}  # f"bad_{name}"


def test_every_route_of_the_specification_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "specification.md").read_text()
    table = text.partition("### 1.4")[2].partition("Each route has this one path")[0]
    named = set(re.findall(r"`(?:GET|POST) ([a-z/.]+|auth/\{provider\})[?`&]", table))
    named |= {"", *re.findall(r"`(health/\w+)`", table)}
    paths = {path.removeprefix("/") for path, _, _ in operations() if "/apps/" not in path}
    assert named - {"ws", "client.js"} == paths - {"{script}"}


ACCEPTED = {
    # Each control request comes before the one that ends its job or stream.
    ("/connect", "post"): {"client": "c_1"},
    ("/poll", "post"): {"positions": {CHANNEL: None, "not a channel": None}},
    ("/sse", "post"): {"positions": {CHANNEL: None}},
    ("/auth/pusher", "post"): {"socket_id": "1.2", "channel_name": f"private-{CHANNEL}"},
    ("/job/answer", "post"): {"channel": CHANNEL, "job": "a1", "question": "q", "value": [1]},
    ("/job/cancel", "post"): {"channel": CHANNEL, "job": "a1", "reason": "a text"},
    ("/latest", "get"): f"channel={CHANNEL}&after=0",
    ("/sse", "get"): f"channel={CHANNEL}&channel=chat.2&as=event&snapshot=1",
    ("/stream", "get"): f"channel={CHANNEL}&id=m1&format=json",
    ("/stream/stop", "post"): {"channel": CHANNEL, "stream": "m1"},
    ("/health", "get"): "",
    ("/health/live", "get"): "",
    ("/health/ready", "get"): "",
    ("/metrics", "get"): "",
    ("/client.js", "get"): "",
    ("/", "get"): "",
    ("/dashboard.css", "get"): "",
    ("/dashboard.js", "get"): "",
    ("/dashboard/state", "get"): "",
    ("/dashboard/publish", "post"): {"channel": CHANNEL, "event": "e", "data": 1, "key": "k"},
}
"""An accepted request of each operation, without those that are signed."""

CALLS = {
    "events": event(),
    "batch_events": orjson.dumps({"batch": [{"name": "e", "channel": "news", "data": "x"}]}),
    "channels": b"",
    "channels/news": b"",
    "channels/news/users": b"",
    "users/7/terminate_connections": b"{}",
}
"""Calls of Pusher's server SDKs."""


async def send_all(site: Site) -> None:
    headers = {"authorization": f"Bearer {site.tokens.issue('42', channels=['*'], controls=['*'])}"}
    for (path, method), request in ACCEPTED.items():
        query = f"?{request}" if isinstance(request, str) and request else ""
        options: Any = {} if method == "get" else {"json": request}
        url = f"{site.url}{path}{query}"
        async with site.http.request(method, url, headers=headers, **options) as response:
            # An open stream has no end.
            text = "" if "sse" in path else (await response.text())[:300]
            assert response.status < 300, (path, text)
    for path, body in CALLS.items():
        await call(site, "POST" if body else "GET", f"/apps/{APP.app_id}/{path}", body)
    status, answer = await site.publish({"events": [{"channel": CHANNEL, "event": "e"}]})
    assert status == 200, answer


async def test_every_operation_is_answered_as_the_reference_has_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    site = await serve(pusher_door=True)
    site.bridge.dashboard(lambda user: user == "42")
    await begin(site, "text")

    async def work() -> None:
        async with site.bridge.job(CHANNEL, id="a1", cancellable=True) as job:
            assert await job.ask("Go on?", id="q") == [1]
            await asyncio.sleep(TIMEOUT)

    working = asyncio.create_task(work())
    await events(site, "job.asking")
    await connect_pusher(site)
    await send_all(site)
    with pytest.raises(JobCancelledError):
        await working
    assert site.recorder
    answered = {(path, method) for path, method, _ in site.recorder.answered}
    assert answered == {(path, method) for path, method, _ in operations()}


async def expect_all(client: Client, *names: str) -> None:
    """Receive frames until each of these messages has come, each checked by the client."""
    missing = set(names)
    while missing:
        missing.discard((await client.receive())["type"])


async def test_every_message_to_a_client_is_as_the_reference_has_it(serve: Serve) -> None:
    site = await serve(timing=ServerTiming(session=SessionTiming(heartbeat=0.2)))
    frames: list[tuple[str, dict[str, Any]]] = [
        ("connect", {"token": site.token(), "nonce": "n", "version": wire.VERSION}),
        ("subscribe", {"channel": CHANNEL, "position": None}),
        ("subscribe", {"channel": "user-43"}),
        ("subscribe", {"channel": "job.1", "position": {"epoch": "k3v9q2wz", "offset": 3}}),
        ("ping", {"nonce": "p"}),
        ("token", {"token": site.token()}),
        ("unsubscribe", {"channels": ["job.2"]}),
    ]
    client, sent = await site.open(), set()
    for kind, fields in frames:
        sent.add(check_frame("receiveFromClient", {"type": kind, **fields}))
        await client.send(kind, **fields)
    assert sent == set(messages("receiveFromClient"))
    await expect_all(client, "welcome", "subscribed", "reset", "pong", "heartbeat")
    await site.bridge.publish(CHANNEL, "e", {"a": 1}, key="k")
    await expect_all(client, "event")
    site.context.broadcast_status()
    site.context.registry.hand_over()
    await expect_all(client, "status", "drain")
    await client.send("unknown")
    await client.failed()
    stranger = await site.connect("42", "job.*")
    await stranger.send("subscribe", channel=CHANNEL)
    await stranger.expect("refused")
    check_payload("stub", orjson.loads(wire.encode_stub(CHANNEL, Position("k3v9q2wz", 3, "i"))))


async def test_every_call_of_a_worker_is_as_the_reference_has_it(serve: Serve) -> None:
    site = await serve()
    worker = await site.worker()
    owned = {"channel": CHANNEL, "event": "e", "key": "k", "attempt": "A"}
    lease: dict[str, Any] = {"lease": 30, "will": {"event": "e", "data": None}}
    top = {"epoch": "k3v9q2wz", "offset": 0}
    calls: dict[str, dict[str, Any]] = {
        "append": {"events": [{**owned, "data": 1, "take": "always", **lease}]},
        "read": {"channel": CHANNEL, "after": top, "limit": 10},
        "latest": {"channel": CHANNEL, "after": 0, "limit": 10},
        "positions": {"channels": [CHANNEL]},
        "renew": {"leases": [rpc.pack_lease(Lease(CHANNEL, "k", "A"))]},
        "rotate_epoch": {"channel": CHANNEL, "expected_epoch": "k3v9q2wz"},
    }
    for number, (name, fields) in enumerate(calls.items()):
        frame = {"call": name, "number": number, **fields}
        check_payload("call", frame)
        await worker.send(orjson.dumps(frame).decode())
        answer = orjson.loads(await worker.recv())
        check_payload("answer", answer)
        assert (answer["number"], answer.get("error")) == (number, None)
    await worker.send(orjson.dumps({"call": "append", "number": 9, "events": []}).decode())
    answer = orjson.loads(await worker.recv())
    check_payload("answer", answer)
    assert answer["error"]["invalid"]


def test_other_traffic_is_a_difference() -> None:
    with pytest.raises(AssertionError, match="heartbeat"):
        check_frame("sendToClient", {"type": "heartbeat", "offsets": {}})
    with pytest.raises(AssertionError, match="has no surprise"):
        check_frame("sendToClient", {"type": "surprise"})
