"""Tests of the bridge in each framework, at several mount paths, started and not started."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import httpx
import pytest
from django.conf import settings as django_settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from fastapi import BackgroundTasks, FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.exceptions import InvalidStatus

from realtime_bridge import BlockingBroadcaster, Broadcaster
from realtime_bridge.errors import BackendUnavailableError, ConfigurationError
from realtime_bridge.integrations.django import asgi
from realtime_bridge.server import Bridge
from realtime_bridge_backends.memory import MemoryBackend
from tests.server.harness import Application, Serve, Site, context_of, make_bridge, make_settings


class SharedLog(MemoryBackend):
    """Log that stands for one outside this process."""

    remote_access_via = None  # type: ignore[assignment]


async def check_all_routes(site: Site) -> None:
    """Check all routes of the bridge: socket, poll, publish, health."""
    client = await site.connect("42")
    await client.subscribe("job.7")
    assert (await site.publish({"events": [{"channel": "job.7", "event": "job.step"}]}))[0] == 200
    assert (await client.expect("event"))["offset"] == 1
    status, answer = await site.poll({"job.7": None})
    assert (status, answer["channels"]["job.7"]["position"]["offset"]) == (200, 1)
    async with site.http.get(f"{site.url}/health/ready") as ready:
        assert ready.status == 200
    async with site.http.get(f"{site.url}/nothing") as nothing:
        assert nothing.status == 404
    async with site.http.get(f"{site.url}/") as mount_point:
        assert (mount_point.status, "A bridge runs here" in await mount_point.text()) == (404, True)


async def check_page(site: Site, text: str) -> None:
    """Check that the application itself answers."""
    async with site.http.get(f"{site.origin}/page") as answer:
        assert (answer.status, await answer.text()) == (200, text)


@pytest.mark.parametrize("mount_path", ["/realtime", "/api", "/deep/er"])
async def test_bridge_in_fastapi_serves_all_routes(serve: Serve, mount_path: str) -> None:
    bridge = make_bridge()
    app = FastAPI(lifespan=bridge.lifespan)
    app.get("/page")(lambda: "fastapi")
    app.mount(mount_path, bridge)
    site = await serve(bridge, app=app)
    site.path = mount_path
    await check_all_routes(site)
    await check_page(site, '"fastapi"')


async def test_fastapi_background_tasks_report_jobs(serve: Serve) -> None:
    bridge = make_bridge()
    app = FastAPI(lifespan=bridge.lifespan)
    app.mount("/realtime", bridge)

    async def transcribe() -> None:
        async with bridge.job("job.7", id="async") as job:
            job.progress(0.5)

    def translate() -> None:
        with (
            suppress(ValueError),
            BlockingBroadcaster(lambda: Broadcaster.from_settings(make_settings())) as broadcaster,
            broadcaster.job("job.7", id="in a thread"),
        ):
            raise ValueError("no such language")

    @app.post("/calls")
    async def create_call(tasks: BackgroundTasks) -> None:
        tasks.add_task(transcribe)
        tasks.add_task(translate)

    site = await serve(bridge, app=app)
    client = await site.connect("42")
    await client.subscribe("job.7")
    async with site.http.post(f"{site.origin}/calls") as answer:
        assert answer.status == 200
    frames = [await client.expect("event") for _ in range(5)]
    assert [(frame["data"]["job"], frame["event"]) for frame in frames] == [
        ("async", "job.started"),
        ("async", "job.progress"),
        ("async", "job.completed"),
        ("in a thread", "job.started"),
        ("in a thread", "job.failed"),
    ]


@pytest.mark.parametrize("mount_path", ["/realtime", "/api"])
async def test_bridge_in_starlette_lifespan_serves_all_routes(
    serve: Serve, mount_path: str
) -> None:
    bridge = make_bridge()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with bridge:
            yield

    app = Starlette(routes=[Mount(mount_path, bridge)], lifespan=lifespan)
    site = await serve(bridge, app=app)
    site.path = mount_path
    await check_all_routes(site)


def django_page(_: HttpRequest) -> HttpResponse:
    return HttpResponse("django")


def django_with_bridge(bridge: Bridge) -> Application:
    if not django_settings.configured:
        django_settings.configure(
            ROOT_URLCONF=(path("page", django_page),),
            ALLOWED_HOSTS=["127.0.0.1"],
            SECRET_KEY="a secret of the tests",
            LOGGING_CONFIG=None,
        )
    return asgi(get_asgi_application(), bridge)


@pytest.mark.parametrize("mount_path", ["/realtime", "/api"])
async def test_bridge_beside_django_serves_all_routes(serve: Serve, mount_path: str) -> None:
    bridge = make_bridge(path=mount_path)
    site = await serve(bridge, app=django_with_bridge(bridge))
    await check_all_routes(site)
    await check_page(site, "django")


@pytest.mark.parametrize("mount_path", ["/realtime", "/api", ""])
async def test_bridge_alone_serves_all_routes(serve: Serve, mount_path: str) -> None:
    await check_all_routes(await serve(make_bridge(path=mount_path)))


@pytest.mark.parametrize("within", ["fastapi", "nothing"])
async def test_user_in_socket_url_is_accepted_in_development(serve: Serve, within: str) -> None:
    bridge = make_bridge(dev=True, path="/api")
    app = FastAPI(lifespan=bridge.lifespan)
    app.mount("/api", bridge)
    site = await serve(bridge, app=app if within == "fastapi" else bridge)
    client = await site.open("?userId=test-user")
    assert client.socket.request is not None
    assert client.socket.request.path == "/api/ws?userId=test-user"
    assert (await client.expect("welcome"))["user"] == "test-user"
    assert (await client.expect("subscribed"))["channel"] == "user-test-user"


async def test_bridge_without_start_is_503(serve: Serve) -> None:
    bridge = make_bridge(dev=True)
    site = await serve(bridge, app=FastAPI(routes=[Mount("/realtime", bridge)]))
    for answer in (
        await site.post("connect?userId=42", {}),
        await site.poll({"user-42": None}),
        await site.publish({"events": [{"channel": "user-42", "event": "job.step"}]}),
    ):
        assert (answer[0], answer[1]["error"]["code"]) == (503, "not_started")
        assert "lifespan=bridge.lifespan" in answer[1]["error"]["message"]
    async with site.http.get(f"{site.url}/health/ready") as ready:
        assert ready.status == 503
    for opening in (site.open("?userId=42"), site.worker()):
        with pytest.raises(InvalidStatus) as caught:
            await opening
        assert caught.value.response.status_code == 503


async def test_second_start_of_running_bridge_is_rejected() -> None:
    bridge = make_bridge()
    async with bridge:
        with pytest.raises(ConfigurationError, match="already started"):
            await bridge.__aenter__()
    async with bridge:
        pass


def test_bridge_restarts_in_another_event_loop() -> None:
    bridge = make_bridge()

    async def listen() -> None:
        async with bridge:
            assert context_of(bridge).hub.ready
            await bridge.publish("job.7", "job.step")

    for _ in range(2):
        asyncio.run(listen())


async def test_publisher_cannot_choose_between_two_bridges_with_own_logs() -> None:
    broadcaster = Broadcaster.from_settings(make_settings(backend="memory", prefix="shop"))
    async with make_bridge(prefix="shop") as first:
        async with make_bridge(prefix="shop"), make_bridge(prefix="other"):
            with pytest.raises(ConfigurationError, match="2 bridges with REALTIME_PREFIX=shop"):
                await broadcaster.publish("job.7", "job.step")
        await broadcaster.publish("job.7", "job.step")
        assert (await first.position("job.7")).offset == 1


async def test_end_of_second_bridge_with_a_shared_log_leaves_the_first_one() -> None:
    log = SharedLog()
    async with make_bridge(with_log=log, prefix="shop") as first:
        async with make_bridge(with_log=log, prefix="shop"):
            pass
        broadcaster = Broadcaster.from_settings(make_settings(backend="memory", prefix="shop"))
        await broadcaster.publish("job.7", "job.step")
        assert (await first.position("job.7")).offset == 1


@pytest.mark.parametrize("stripped", [True, False])
async def test_mount_path_is_found_behind_a_root_path(serve: Serve, *, stripped: bool) -> None:
    bridge = make_bridge()
    app = FastAPI(lifespan=bridge.lifespan)
    app.root_path = "/api"
    app.mount("/live", bridge)
    site = await serve(bridge, app=app)
    site.path = "/live" if stripped else "/api/live"
    await check_all_routes(site)


async def test_server_without_lifespan_starts_the_bridge_at_its_first_request() -> None:
    bridge = make_bridge(dev=True)
    transport = httpx.ASGITransport(bridge)  # its scopes have no state
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        requests = [http.post("/realtime/connect?userId=42", json={}) for _ in range(3)]
        answers = await asyncio.gather(*requests)
    assert [answer.status_code for answer in answers] == [200] * 3
    assert context_of(bridge).status.is_started
    await bridge.__aexit__(None, None, None)


async def test_publish_before_the_start_has_a_receipt_without_a_push() -> None:
    bridge = make_bridge()
    receipt = await bridge.publish("job.7", "job.step")
    assert (receipt.position is not None, receipt.pushed) == (True, False)
    async with bridge:
        receipt = await bridge.publish("job.7", "job.step")
    assert receipt.pushed


async def test_issued_token_connects_and_grants_its_channels(serve: Serve) -> None:
    site = await serve()
    client = await site.open()
    await client.introduce(site.bridge.issue_token("42", channels=["job.*"]))
    await client.subscribe("job.7")


async def test_failed_start_reports_its_error() -> None:
    class Absent(MemoryBackend):
        async def __aenter__(self) -> Self:
            raise BackendUnavailableError("the log is not there")

    bridge = make_bridge(with_log=Absent())
    messages: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        messages.append(message)

    await bridge({"type": "lifespan"}, receive, send)
    assert messages == [{"type": "lifespan.startup.failed", "message": "the log is not there"}]
