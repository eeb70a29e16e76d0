"""Tests that each route has one path, and that no other spelling reaches it."""

from collections.abc import Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from realtime_bridge.integrations.django import wsgi
from realtime_bridge.server.routes import path_below
from tests.security.requests import ask, get
from tests.server.harness import Serve, Site, make_bridge

ROUTES = ["ws", "sse", "poll", "latest", "connect", "publish", "health", "metrics", "client.js"]


def other_spellings(route: str) -> list[str]:
    encoded = f"%{ord(route[0]):02x}{route[1:]}"
    return [
        f"/realtime/{route}/",
        f"/realtime/{route}//",
        f"/realtime//{route}",
        f"//realtime/{route}",
        f"/realtime/{encoded}",
        f"/realtime/{route}%2f",
        f"/realtime%2f{route}",
        f"/%72ealtime/{route}",
        f"/{route}",
        f"/realtime/realtime/{route}",
        f"/realtime/./{route}",
        f"/realtime/x/../{route}",
        f"/REALTIME/{route}",
        f"/realtime/{route.upper()}",
        f"/realtime/{route};x",
        f"/realtime/{route}%00",
        f"/realtime/{route}%3fx",
    ]


UPGRADE = (
    "upgrade: websocket",
    "connection: upgrade",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version: 13",
)


@pytest.mark.parametrize("route", ROUTES)
async def test_other_spelling_of_a_route_is_not_found(site: Site, route: str) -> None:
    for path in other_spellings(route):
        for method in ("GET", "POST", "HEAD"):
            request = get(path, "content-length: 0", method=method)
            answer = await ask(site.origin, request, head_only=method == "HEAD")
            assert answer.status == 404, (method, path)


@pytest.mark.parametrize("route", ["ws", "publish"])
async def test_other_spelling_of_a_socket_is_not_found(site: Site, route: str) -> None:
    for path in other_spellings(route):
        answer = await ask(site.origin, get(path, *UPGRADE), head_only=True)
        assert answer.status == 404, path


def test_other_spelling_of_a_route_is_not_found_by_wsgi() -> None:
    def django(_: Any, start_response: Any) -> Iterable[bytes]:
        start_response("404 Not Found", [])
        return []

    # A prefix of its own: this bridge runs until the process ends.
    application = wsgi(django, make_bridge(prefix="paths"))
    statuses: dict[str, str] = {}
    for path in ("/realtime/health/live", "/realtime/metrics/", "/realtime//metrics",
                 "//metrics", "/realtime/sse/", "/realtime//sse", "/realtime/poll/"):  # fmt: skip
        environ: dict[str, Any] = {"PATH_INFO": path, "SCRIPT_NAME": ""}
        setup_testing_defaults(environ)

        def start_response(status: str, *_: Any, path: str = path) -> Any:
            statuses[path] = status.partition(" ")[0]

        b"".join(application(environ, start_response))
    assert statuses.pop("/realtime/health/live") == "200"
    assert set(statuses.values()) == {"404"}


@pytest.mark.parametrize(
    ("root", "path", "raw", "below"),
    [
        ("", "/realtime/ws", b"/realtime/ws", "ws"),
        ("", "/realtime/ws", None, "ws"),
        ("", "/realtime/health/live", b"/realtime/health/live?a=b", "health/live"),
        ("", "/realtime/ws", b"/realtime/%77s", None),
        ("", "/ws", b"/ws", None),
        ("/mount", "/mount/ws", b"/mount/ws", "ws"),
        ("/mount/", "/ws", b"/mount/ws", "ws"),
        ("/ü", "/ü/ws", b"/%C3%BC/ws", "ws"),
        ("/proxy", "/proxy/realtime/ws", b"/proxy/realtime/ws", "ws"),
        ("/realtime", "/realtime/ws", b"/realtime/ws", "ws"),
        ("/mount", "/mount//ws", b"/mount//ws", "/ws"),
    ],
)
def test_path_below_the_mount_point(
    root: str, path: str, raw: bytes | None, below: str | None
) -> None:
    scope: dict[str, Any] = {"path": path, "root_path": root}
    if raw is not None:
        scope["raw_path"] = raw
    assert path_below(scope, "/realtime") == below


@pytest.mark.parametrize("route", ["health", "health/live", "health/ready", "metrics", "client.js"])
async def test_head_has_the_headers_of_get(serve: Serve, route: str) -> None:
    site = await serve()
    got = await ask(site.origin, get(f"/realtime/{route}"))
    head = await ask(site.origin, get(f"/realtime/{route}", method="HEAD"), head_only=True)
    assert (head.status, head.body) == (200, b"")
    # Counts of requests change the size of the metrics.
    for name in ("content-type", "cache-control"):
        assert head.headers[name] == got.headers[name]
    assert int(head.headers["content-length"]) > 0


async def test_head_of_a_missing_route_is_404_and_of_a_post_route_is_405(site: Site) -> None:
    for route, status in (("nothing", 404), ("connect", 405), ("sse", 405)):
        head = await ask(site.origin, get(f"/realtime/{route}", method="HEAD"), head_only=True)
        assert (head.status, head.body) == (status, b"")
