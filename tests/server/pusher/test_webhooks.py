"""Webhooks about channels and members: once for all servers, verified by Pusher's own library."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.protocol.outlets.timing import OutletTiming
from realtime_bridge.protocol.pusher.session_commands import PusherTiming
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge_backends.sqlite import SQLiteBackend
from tests.server.harness import FAST, TIMEOUT, Site, Sites, make_bridge
from tests.server.pusher.clients import APP, PusherClient, connect_pusher, sdk_of
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

TIMING = ServerTiming(
    outlets=OutletTiming(
        scan_seconds=0.05, retry_seconds=0.02, longest_retry_seconds=0.1, renew_seconds=0.2
    ),
    pusher=PusherTiming(vacant=0.1),
    presence_stay=0.05,
)

Fact = tuple[str, str, str | None]


class Application:
    """Endpoint of an application that verifies webhooks by Pusher's library for Python."""

    def __init__(self) -> None:
        self.answer: Callable[[], int] = lambda: 200
        self.bodies: list[bytes] = []
        self.reported: asyncio.Queue[Fact] = asyncio.Queue()
        self.url = ""
        self._sdk = sdk_of("http://127.0.0.1:1")
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/hook", self._receive)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner
        await self._runner.cleanup()

    async def next(self) -> Fact:
        async with asyncio.timeout(TIMEOUT):
            return await self.reported.get()

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        key, signature = request.headers["x-pusher-key"], request.headers["x-pusher-signature"]
        webhook = self._sdk.validate_webhook(key, signature, body.decode())
        assert webhook is not None
        self.bodies.append(body)
        status = self.answer()
        if status == 200:
            for event in webhook["events"]:
                self.reported.put_nowait((event["name"], event["channel"], event.get("user_id")))
        return web.Response(status=status)


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    async with Application() as application:
        yield application


@pytest.fixture
async def sites() -> AsyncIterator[Sites]:
    async with Sites(FAST) as sites:
        yield sites


def webhook_bridge(application: Application, **options: Any) -> Any:
    urls = (application.url,)
    options = {"timing": TIMING, "outlet_private": True, **options}
    return make_bridge(pusher_door=True, pusher_door_webhooks=urls, **options)


@pytest.mark.parametrize("log", ["memory", "sqlite", "redis", "postgres"])
async def test_changes_of_all_nodes_are_reported_once(
    log: str, application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as exits:
        monkeypatch.setenv("REALTIME_SQLITE_PATH", str(tmp_path / "log.db"))
        if log == "redis":
            redis = exits.enter_context(RedisServer(tmp_path / "redis", "--save", ""))
            monkeypatch.setenv("REALTIME_REDIS_URL", redis.url)
        if log == "postgres":
            server = exits.enter_context(PostgresServer())
            monkeypatch.setenv("REALTIME_POSTGRES_URL", server.database())
        sites = await exits.enter_async_context(Sites(FAST))
        nodes = [
            await sites.start(webhook_bridge(application, log=log))
            for _ in range(1 if log == "memory" else 2)
        ]
        ann, again, ben = [await connect_pusher(site) for site in (nodes[0], nodes[-1], nodes[-1])]
        await ann.enter("presence-room", "ann")
        assert await application.next() == ("channel_occupied", "presence-room", None)
        assert await application.next() == ("member_added", "presence-room", "ann")
        await again.enter("presence-room", "ann")
        await ben.enter("presence-room", "ben")
        assert await application.next() == ("member_added", "presence-room", "ben")
        for client in (ann, again, ben):
            await client.socket.close()
        left = {await application.next() for _ in range(2)}
        assert left == {("member_removed", "presence-room", user) for user in ("ann", "ben")}
        assert await application.next() == ("channel_vacated", "presence-room", None)
        assert application.reported.empty()


async def subscribed(site: Site, *names: str) -> PusherClient:
    client = await connect_pusher(site)
    for name in names:
        await client.subscribe(name)
    return client


async def test_webhook_is_repeated_word_for_word_until_it_is_accepted(
    application: Application, sites: Sites
) -> None:
    statuses = iter([500, 302, 503])
    application.answer = lambda: next(statuses, 200)
    site = await sites.start(webhook_bridge(application))
    await subscribed(site, "news")
    assert await application.next() == ("channel_occupied", "news", None)
    assert len(application.bodies) == 4
    (body,) = set(application.bodies)
    assert json.loads(body)["time_ms"] > 1_600_000_000_000
    assert application.reported.empty()


async def test_next_server_goes_on_where_the_last_one_ended(
    application: Application, tmp_path: Path
) -> None:
    def create() -> Any:
        return webhook_bridge(application, with_log=SQLiteBackend(tmp_path / "log.db"))

    async with Sites(FAST) as later:
        async with Sites(FAST) as first:
            await first.start(create())  # it has the lease
            client = await subscribed(await later.start(create()), "news", "private-orders.7")
            reported = {await application.next() for _ in range(2)}
            assert {name for _, name, _ in reported} == {"news", "private-orders.7"}
        await client.send("pusher:unsubscribe", {"channel": "news"})
        assert await application.next() == ("channel_vacated", "news", None)
        await client.subscribe("other")
        assert await application.next() == ("channel_occupied", "other", None)


def test_url_without_tls_needs_a_switch(credentials: None) -> None:
    with pytest.raises(ConfigurationError, match="use an https URL"):
        make_bridge(pusher_door=True, pusher_door_webhooks=("http://app.example.com/hook",))
    assert APP.secret not in repr(
        make_bridge(pusher_door=True, pusher_door_webhooks=("https://app.example.com/hook",))
    )
