"""Background work of a server: whatever ends it is logged, visible in its health, and undone."""

import asyncio
import itertools
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.model.channel import CONTROL
from realtime_bridge.model.event import Event
from realtime_bridge.server.lifecycle.file_watch import FileWatch
from realtime_bridge.server.timing import ServerTiming
from tests.server.fakes import FakeBackend, Gate
from tests.server.harness import Serve, Site, until

TIMING = ServerTiming(restart=0.05, position_check=0.05, announcement=0.01, quiet=0.05)
LATE_RESTART = ServerTiming(restart=0.5, position_check=0.05, announcement=0.01, quiet=0.05)
"""Restart that comes after the answer to a request, also on a busy machine."""

WORK = [
    "feed",
    "position check",
    "channel opener",
    "revocations",
    "delivery configuration",
    "file descriptors",
]


@contextmanager
def no_file_descriptors() -> Iterator[None]:
    """Let this process open no further file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
async def site(serve: Serve, backend: FakeBackend) -> Site:
    return await serve(with_log=backend, timing=TIMING)


async def readiness(site: Site) -> int:
    async with site.http.get(f"{site.url}/health/ready") as answer:
        return answer.status


async def receives_the_next_event(site: Site, backend: FakeBackend, channel: str) -> None:
    """Prove that a new subscription works, and that its events arrive."""
    client = await site.connect()
    await client.subscribe(channel)
    await site.bridge.publish(channel, "job.step", 1)
    assert (await client.skip_to("event"))["data"] == 1


@pytest.mark.parametrize("name", WORK)
async def test_work_that_ends_is_logged_visible_and_runs_again(
    serve: Serve, backend: FakeBackend, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    site = await serve(with_log=backend, timing=LATE_RESTART)
    await until(lambda: not site.context.failing)
    assert await readiness(site) == 200
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == name)
    task.cancel("no part of the server asked for it")
    await until(lambda: site.context.failing or not site.context.hub.ready)
    assert await readiness(site) == 503
    await until(lambda: site.context.hub.ready and not site.context.failing)
    assert await readiness(site) == 200
    await until(lambda: f"runs again work={name}" in caplog.text)
    assert caplog.text.count(f"background work ended, restarting work={name} ") == 1
    await receives_the_next_event(site, backend, "job.7")


ERRORS = [
    RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed"),
    ValueError("not JSON"),
    KeyError("id"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_feed_that_raises_anything_is_a_lost_connection(
    site: Site, backend: FakeBackend, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    client = await site.connect()
    await client.subscribe("job.7")
    backend.announce(error)
    assert (await client.expect("status"))["log"] == "down"
    assert (await client.skip_to("status"))["log"] == "ok"
    await receives_the_next_event(site, backend, "job.7")
    assert caplog.text.count("background work ended, restarting work=feed") == 1


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_log_that_raises_anything_is_unavailable_for_polls(
    site: Site, backend: FakeBackend, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    backend.fails = error
    for _ in range(20):
        status, answer = await site.poll({"job.7": {"epoch": "abcdefgh", "offset": 1}})
        assert (status, answer["error"]["code"]) == (503, "log_unavailable")
    backend.fails = None
    await until(lambda: site.context.hub.healthy)
    while "log available" not in caplog.text:
        assert (await site.poll({"job.7": {"epoch": "abcdefgh", "offset": 1}}))[0] == 200
    assert caplog.text.count("log unavailable ") == 1
    assert caplog.text.count("log available ") == 1


async def test_feed_without_a_connection_is_not_ready(site: Site, backend: FakeBackend) -> None:
    client = await site.connect()
    await client.subscribe("job.7")
    backend.announce(FeedInterrupted(connected=False))
    assert (await client.expect("status"))["log"] == "down"
    assert await readiness(site) == 503
    backend.announce(FeedInterrupted())
    assert (await client.expect("status"))["log"] == "ok"
    assert await readiness(site) == 200


async def test_gap_of_one_channel_recovers_that_channel_alone(
    site: Site, backend: FakeBackend
) -> None:
    client = await site.connect()
    await client.subscribe("job.7")
    await client.subscribe("job.8")
    hub = site.context.hub
    before = hub.recovery.started
    backend.announce(FeedInterrupted("job.7"), FeedInterrupted("elsewhere"))
    await until(lambda: hub.recovery.started == before + 1)
    assert hub.healthy


async def test_malformed_revocation_stops_no_channel(
    site: Site, backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    await site.bridge.publish_many([Event.internal(CONTROL, "revoked", b'"odd"', key="odd")])
    await until(lambda: "malformed revocation ignored" in caplog.text)
    await receives_the_next_event(site, backend, "job.7")
    assert "restarting" not in caplog.text


async def test_process_without_file_descriptors_logs_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Supervisor() as tasks:
        with no_file_descriptors():
            tasks.run("file descriptors", FileWatch(interval=0.001).run)
            await until(lambda: "no file can be opened" in caplog.text)
            turns = itertools.count()
            await until(lambda: next(turns) > 10)  # time for more checks
        await until(lambda: "files can be opened again" in caplog.text)
    start, end = caplog.messages
    assert "ulimit -n" in start
    assert int(end.partition("failures=")[2].split()[0]) > 1


async def test_interrupted_subscription_is_refused_for_now(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    gate.close_after(0)
    monkeypatch.setattr(site.context.connections.access.rules, "allow", gate.allow)
    client = await site.connect()
    await client.send("subscribe", channel="job.7", position=None)
    await gate.reached.wait()
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "subscription")
    task.cancel("no part of the server asked for it")
    refused = await client.expect("refused")
    assert (refused["code"], refused["channel"]) == (500, "job.7")
