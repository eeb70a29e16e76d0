"""Attacks on a development server: other machines, rebound names, proxies, and its known secret."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.exceptions import InvalidStatus

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.protocol.wire.rpc import signed_headers
from realtime_bridge.server import Bridge
from realtime_bridge.settings import DEVELOPMENT_SECRET, Settings
from tests.cli.processes import complaint, run
from tests.server.harness import Serve, make_bridge

REBOUND = {"host": "evil.example:8000", "origin": "http://evil.example:8000"}
OUTSIDE: list[dict[str, str]] = [
    REBOUND,
    {"host": "evil.example"},
    {"host": "localhost.evil.example"},
    {"host": "127.0.0.1.evil.example:8000"},
    {"host": "10.0.0.5:8000"},
    {"host": ""},
    {"x-forwarded-for": "192.0.2.1"},
    {"x-forwarded-for": "127.0.0.1, 192.0.2.1"},
    {"x-real-ip": "192.0.2.1"},
    {"forwarded": "for=127.0.0.1"},
]
INSIDE: list[dict[str, str]] = [
    {},
    {"host": "localhost:8000"},
    {"host": "127.0.0.5"},
    {"host": "[::1]:8000"},
    {"x-forwarded-for": "127.0.0.1, ::1"},
]
ROUTES = [
    ("POST", "connect?userId=ann"),
    ("POST", "poll?userId=ann"),
    ("POST", "sse?userId=ann"),
    ("GET", "sse?userId=ann&channel=user-ann"),
    ("GET", "latest?userId=ann&channel=user-ann"),
    ("POST", "publish"),
    ("GET", "health"),
    ("GET", "metrics"),
    ("GET", "client.js"),
    ("OPTIONS", "connect"),
]


@pytest.mark.parametrize("headers", OUTSIDE, ids=str)
async def test_no_route_answers_others(serve: Serve, headers: Mapping[str, str]) -> None:
    site = await serve(dev=True)
    events = {"events": [{"channel": "user-ann", "event": "job.step", "data": "evil"}]}
    body = orjson.dumps({"positions": {"user-ann": None}, **events})
    signed = signed_headers(DEVELOPMENT_SECRET, f"{time.time():.6f}", body)
    sent = {"content-type": "application/json", **signed, **headers}
    for method, route in ROUTES:
        async with site.http.request(
            method, f"{site.url}/{route}", data=body, headers=sent
        ) as answer:
            assert answer.status == 403, (method, route)
            assert (await answer.json())["error"]["code"] == "not_local"
    given = {"additional_headers": {name: text for name, text in headers.items() if name != "host"}}
    if "host" not in headers:
        for route in ("ws?userId=ann", "publish"):
            with pytest.raises(InvalidStatus) as caught:
                await site.open_route(route, given)
            assert caught.value.response.status_code == 403
    assert (await site.bridge.position("user-ann")).offset == 0


@pytest.mark.parametrize("headers", INSIDE, ids=str)
async def test_this_machine_is_answered(serve: Serve, headers: Mapping[str, str]) -> None:
    site = await serve(dev=True)
    status, descriptor = await site.post("connect?userId=ann", {}, **headers)
    assert (status, descriptor["user"]) == (200, "ann")


@pytest.mark.parametrize("origin", ["http://localhost:5173", "http://127.0.0.1:3000"])
async def test_pages_of_other_ports_of_this_machine_may_connect(serve: Serve, origin: str) -> None:
    site = await serve(dev=True)
    async with site.http.post(
        f"{site.url}/connect?userId=ann", json={}, headers={"origin": origin}
    ) as answer:
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == origin
    assert (await site.post("connect?userId=ann", {}, origin="http://evil.example"))[0] == 403


def scope_of(client: Any, **headers: str) -> dict[str, Any]:
    encoded = [(name.encode(), text.encode()) for name, text in headers.items()]
    return {
        "type": "http",
        "method": "GET",
        "path": "/realtime/health",
        "query_string": b"",
        "headers": encoded,
        "client": client,
    }


@pytest.mark.parametrize(
    ("client", "status"),
    [
        (("127.0.0.1", 1), 200),
        (("::1", 1), 200),
        (("::ffff:127.0.0.1", 1), 200),
        (None, 200),
        (("192.168.1.7", 1), 403),
        (("::ffff:192.168.1.7", 1), 403),
        (("fe80::1", 1), 403),
        (("testclient", 1), 403),
    ],
)
async def test_only_clients_of_this_machine_are_answered(client: Any, status: int) -> None:
    assert await status_of(make_bridge(dev=True), scope_of(client, host="localhost")) == status


async def test_address_that_a_proxy_adds_in_a_line_of_its_own_counts() -> None:
    scope = scope_of(("127.0.0.1", 1), host="localhost", **{"x-forwarded-for": "127.0.0.1"})
    scope["headers"].append((b"X-Forwarded-For", b"192.0.2.1"))
    assert await status_of(make_bridge(dev=True), scope) == 403


async def test_named_hosts_are_answered() -> None:
    bridge = make_bridge(dev=True, dev_hosts=("DevBox.local", "192.168.1.7"))
    named = scope_of(("192.168.1.7", 1), host="devbox.local:8000")
    assert await status_of(bridge, named) == 200
    assert await status_of(bridge, scope_of(("192.168.1.8", 1), host="devbox.local")) == 403


async def status_of(bridge: Bridge, scope: dict[str, Any]) -> int:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    async with bridge:
        await bridge(scope, receive, send)
    return int(sent[0]["status"])


async def test_production_server_answers_other_hosts(serve: Serve) -> None:
    site = await serve()
    async with site.http.get(f"{site.url}/health", headers={"host": "app.example"}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("secret", ["x" * 32, f"{DEVELOPMENT_SECRET},{'x' * 32}"])
def test_development_mode_with_a_real_secret_is_refused(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="remove one of the two") as caught:
        Bridge(Settings(secret=secret), dev=True)
    assert secret not in str(caught.value)


def test_environment_with_both_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REALTIME_DEV", "true")
    monkeypatch.setenv("REALTIME_SECRET", "x" * 32)
    with pytest.raises(ConfigurationError, match="remove one of the two"):
        Bridge.from_env()
    result = run("serve", "--dev", folder=tmp_path, variables={"REALTIME_SECRET": "x" * 32})
    assert "remove one of the two" in complaint(result, status=1)


def test_development_mode_is_logged_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    make_bridge()
    assert not caplog.records
    make_bridge(dev=True)
    (line,) = caplog.messages
    assert line.startswith("DEVELOPMENT MODE")
