"""Django by ASGI and WSGI: users with a session receive committed events."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, CookieJar

from realtime_bridge import Event
from realtime_bridge.client import HybridClient
from tests.cli.processes import SECRET, Process

ROOT = Path(__file__).parent.parent.parent
MODULE = "tests.integrations.django_app"
SERVERS = {
    "asgi": ("uvicorn", "--port", "0", f"{MODULE}:asgi_application"),
    "wsgi": ("gunicorn", "-b", "127.0.0.1:0", "--threads", "4", f"{MODULE}:wsgi_application"),
}


@pytest.fixture(scope="module", params=list(SERVERS))
def origin(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Run the shop on a server that Django recommends."""
    variables = {
        "REALTIME_BACKEND": "memory",
        "REALTIME_SECRET": SECRET,
        "SHOP_DATABASE": str(tmp_path_factory.mktemp("shop") / "shop.sqlite"),
    }
    command = (sys.executable, "-m", *SERVERS[request.param])
    with Process(*command, folder=ROOT, variables=variables) as process:
        line = ""
        while "http://" not in line:
            line = process.line("")
        yield "http://" + line.partition("http://")[2].split()[0]


@pytest.fixture
async def browser(origin: str) -> AsyncIterator[ClientSession]:
    """Return an HTTP client with a cookie jar."""
    async with ClientSession(origin, cookie_jar=CookieJar(unsafe=True)) as browser:
        yield browser


async def enter(browser: ClientSession, name: str) -> str:
    async with browser.get(f"/enter?name={name}") as response:
        return f"user-{await response.text()}"


async def pay(browser: ClientSession, query: str) -> int:
    async with browser.get(f"/pay?{query}") as response:
        return response.status


async def test_committed_event_arrives_and_rolled_back_one_does_not(
    origin: str, browser: ClientSession
) -> None:
    channel = await enter(browser, "ann")
    async with browser.post("/realtime/connect", json={}) as response:
        token = (await response.json())["token"]
    async with HybridClient(f"{origin}/realtime", [channel], token=token) as client:
        await client.wait_subscribed()
        assert await pay(browser, "order=1&fails=") == 402
        assert await pay(browser, "order=2") == 200
        event = await anext(aiter(client))
    assert isinstance(event, Event)
    assert event.position
    assert (event.data, event.position.offset) == ({"order": 2}, 1)


async def test_connect_requires_a_session(browser: ClientSession) -> None:
    async with browser.post("/realtime/connect", json={}) as response:
        assert response.status == 401
    await enter(browser, "ben")
    async with browser.post("/realtime/connect", json={}) as response:
        assert response.status == 200
    async with browser.get("/leave"), browser.post("/realtime/connect", json={}) as response:
        assert response.status == 401


async def test_sse_without_channels_is_400_by_asgi_501_by_wsgi(
    origin: str, browser: ClientSession, request: pytest.FixtureRequest
) -> None:
    await enter(browser, "cleo")
    expected = {"asgi": 400, "wsgi": 501}[request.node.callspec.params["origin"]]
    async with browser.get("/realtime/sse") as response:
        assert response.status == expected
