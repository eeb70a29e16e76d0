"""Django, by ASGI and by WSGI: who has a session hears what was committed."""

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
    """Run the shop, in the way that Django's users do."""
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
    """Return somebody who has a session."""
    async with ClientSession(origin, cookie_jar=CookieJar(unsafe=True)) as browser:
        yield browser


async def enter(browser: ClientSession, name: str) -> str:
    async with browser.get(f"/enter?name={name}") as answer:
        return f"user-{await answer.text()}"


async def pay(browser: ClientSession, query: str) -> int:
    async with browser.get(f"/pay?{query}") as answer:
        return answer.status


async def test_what_was_committed_is_heard_and_what_was_rolled_back_never_was(
    origin: str, browser: ClientSession
) -> None:
    channel = await enter(browser, "ann")
    async with browser.post("/realtime/connect", json={}) as answer:
        token = (await answer.json())["token"]
    async with HybridClient(f"{origin}/realtime", [channel], token=token) as client:
        await client.wait_subscribed()
        assert await pay(browser, "order=1&fails=") == 402
        assert await pay(browser, "order=2") == 200
        event = await anext(aiter(client))
    assert isinstance(event, Event)
    assert event.position
    assert (event.data, event.position.offset) == ({"order": 2}, 1)


async def test_only_who_has_a_session_is_let_in(browser: ClientSession) -> None:
    async with browser.post("/realtime/connect", json={}) as answer:
        assert answer.status == 401
    await enter(browser, "ben")
    async with browser.post("/realtime/connect", json={}) as answer:
        assert answer.status == 200
    async with browser.get("/leave"), browser.post("/realtime/connect", json={}) as answer:
        assert answer.status == 401


async def test_a_stream_is_refused_where_it_would_hold_a_worker(
    origin: str, browser: ClientSession, request: pytest.FixtureRequest
) -> None:
    await enter(browser, "cleo")
    expected = {"asgi": 400, "wsgi": 501}[request.node.callspec.params["origin"]]
    async with browser.get("/realtime/sse") as answer:
        assert answer.status == expected
