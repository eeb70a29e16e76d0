"""Tests of users with a valid token who ask for more than their share."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest

from realtime_bridge.model.event import Event
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.server import Principal
from realtime_bridge.server.auth.channel_budget import REFILL_SECONDS, ChannelBudget
from realtime_bridge.server.auth.rule_calls import RULES_PER_USER, THREADS
from realtime_bridge.server.auth.rules import ChannelRules
from realtime_bridge_backends.memory import Histories
from tests.security.requests import ask, get
from tests.server.harness import SECRET, Serve, Site, make_bridge, position_of, until


class Gate:
    """Rule whose calls end when the gate is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.running: list[str] = []

    def rule(self, user: str, job: str) -> bool:
        self.running.append(user)
        self.opened.wait()
        self.running.remove(user)
        return True


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


async def test_slow_rules_of_one_user_delay_no_other(serve: Serve, gate: Gate) -> None:
    bridge = make_bridge(authenticate=lambda request: request.headers.get("x-user"))
    bridge.channel("job.{job}")(gate.rule)
    bridge.channel("task.{task}")(lambda user, task: True)
    site = await serve(bridge)
    sockets = [await site.connect("slow", "none") for _ in range(5)]
    for number, socket in enumerate(sockets):
        for channel in range(20):
            await socket.send("subscribe", channel=f"job.{number}-{channel}", position=None)
    await until(lambda: len(gate.running) == RULES_PER_USER)
    assert (await site.post("connect", {}, x_user="other"))[0] == 200
    other = await site.connect("other", "none")
    await other.subscribe("task.1")
    assert len(gate.running) == RULES_PER_USER
    gate.opened.set()
    for socket in sockets:
        for _ in range(20):
            await socket.expect("subscribed")


async def test_user_who_leaves_and_returns_gets_no_more_threads(gate: Gate) -> None:
    rules = ChannelRules()
    rules.add("job.{job}", gate.rule)
    ann, bob = Principal(user="ann"), Principal(user="bob")
    for _ in range(5):
        calls = [asyncio.create_task(rules.allow(ann, f"job.{n}")) for n in range(THREADS)]
        await until(lambda: len(gate.running) == RULES_PER_USER)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    bobs = asyncio.create_task(rules.allow(bob, "job.1"))
    await until(lambda: gate.running.count("bob") == 1)
    assert gate.running.count("ann") == RULES_PER_USER
    gate.opened.set()
    assert await bobs
    assert await rules.allow(ann, "job.1")


@pytest.mark.parametrize("is_async", [True, False])
async def test_few_rules_of_a_user_run_at_once(*, is_async: bool) -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def enter(count: int) -> None:
        nonlocal running, most
        with lock:
            running += count
            most = max(most, running)

    async def async_rule(user: str, job: str) -> bool:
        enter(1)
        await asyncio.sleep(0)
        enter(-1)
        return True

    def sync_rule(user: str, job: str) -> bool:
        enter(1)
        time.sleep(0.001)
        enter(-1)
        return True

    rules = ChannelRules()
    rules.add("job.{job}", async_rule if is_async else sync_rule)
    ann = Principal(user="ann")
    assert all(await asyncio.gather(*(rules.allow(ann, f"job.{n}") for n in range(100))))
    assert 0 < most <= RULES_PER_USER


async def test_invented_channels_are_refused_for_now(serve: Serve) -> None:
    """A channel more is there after 5 s, which no step of this test takes."""
    site = await serve(limit_connections_per_user=1, limit_channels_per_connection=1)
    budget = site.context.connections.budget

    def spend_all() -> None:
        while budget.spend("42", 1, time.monotonic()):
            pass

    assert (await site.poll({"job.1": None}))[0] == 200
    spend_all()
    status, answer = await site.poll({"job.2": None})
    assert (status, answer["error"]["code"]) == (429, "too_many_channels")
    # Another user is not concerned, and the transports share the budget.
    assert (await site.poll({"job.1": None}, user="other"))[0] == 200
    headers = f"authorization: Bearer {site.token()}"
    spend_all()
    latest = await ask(site.origin, get("/realtime/latest?channel=job.1", headers))
    assert (latest.status, latest.headers["retry-after"]) == (429, "1")
    client = await site.connect()
    spend_all()
    await client.send("subscribe", channel="job.1", position=None)
    assert (await client.expect("refused"))["code"] == 429


def test_budget_is_whole_again_after_a_time() -> None:
    now = 100.0
    budget = ChannelBudget(100)
    assert budget.spend("ann", 100, now)
    assert not budget.spend("ann", 1, now)
    assert budget.spend("bob", 1, now)
    now += REFILL_SECONDS / 2
    assert not budget.spend("ann", 51, now)
    assert budget.spend("ann", 50, now)
    now += REFILL_SECONDS
    assert budget.spend("carl", 1, now)
    assert len(budget) == 1  # the others are forgotten


def test_unused_channels_of_a_memory_log_are_bounded() -> None:
    epochs = iter(range(10**9))
    log = Histories(Retention(), lambda: f"{next(epochs):08}", max_bytes=1 << 30, many=100)
    used = [f"used.{number}" for number in range(50)]
    for name in used:
        log.append([Event(channel=name, event="job.step", data=None)], now=0.0, time=0)
    tops = {name: log.of(name, 0.0).top for name in used}
    for _ in range(2):
        for number in range(1_000):
            log.of(f"invented.{number}", 0.0)
    assert len(log) <= 100
    assert {name: log.of(name, 0.0).top for name in used} == tops


async def test_long_polls_take_places_of_connections(serve: Serve) -> None:
    site = await serve(limit_connections_per_user=3)
    socket = await site.connect()
    held = [asyncio.create_task(site.poll({"job.1": None}, wait=20)) for _ in range(2)]
    await until(lambda: site.context.registry.users["42"] == 3)
    status, answer = await site.poll({"job.1": None}, wait=20)
    assert (status, answer["error"]["code"]) == (429, "too_many_connections")
    assert (await site.poll({"job.1": None}))[0] == 200  # without a wait
    other = await site.open()
    await other.send("connect", token=site.token(), nonce="n", version=1)
    assert (await other.closed())[0] == CloseCode.TOO_MANY_CONNECTIONS
    await site.bridge.publish("job.1", "job.step")
    assert [status for status, _ in await asyncio.gather(*held)] == [200, 200]
    assert site.context.registry.users["42"] == 1
    await socket.ping()


@pytest.mark.parametrize("channels", [["secret.1"], ["secret.1", "secret.2"]])
async def test_poll_of_forbidden_channels_does_not_wait(site: Site, channels: list[str]) -> None:
    polling = site.poll(dict.fromkeys(channels), channels=["job.*"], wait=20)
    async with asyncio.timeout(10):
        status, answer = await polling
    assert status == 200
    assert {answer["channels"][name]["error"]["code"] for name in channels} == {403}


Position = dict[str, Any]


@pytest.mark.parametrize(
    "again",
    [
        lambda start, end: start,
        lambda start, end: {**end, "offset": end["offset"] - 1},
        lambda start, end: None,
    ],
    ids=["first page", "end of the page but one", "no position"],
)
async def test_page_is_not_read_again_without_a_limit(
    serve: Serve, again: Callable[[Position, Position], Position | None]
) -> None:
    site = await serve(limit_frames_per_second=0.5)  # a burst of one frame, for `connect`
    await site.fill("job.1", ["x" * 9_000] * 100)
    client = await site.connect()
    latest = await site.bridge.position("job.1")
    start = {"epoch": latest.epoch, "offset": 0}
    refused = False
    frame = await client.subscribe("job.1", start)
    assert frame["more"]
    for _ in range(60):
        position = again(start, position_of(frame))
        await client.send("subscribe", channel="job.1", position=position)
        answer = await client.receive()
        while answer["type"] in ("reset", "event"):
            answer = await client.receive()
        if answer["type"] == "refused":
            refused = True
            assert answer["code"] == 429
            break
    assert refused


async def test_all_pages_are_read_without_a_refusal(serve: Serve) -> None:
    site = await serve(limit_frames_per_second=0.5)  # a burst of one frame, for `connect`
    await site.fill("job.1", ["x" * 9_000] * 100)
    latest = await site.bridge.position("job.1")
    client = await site.connect()
    frame = await client.subscribe("job.1", {"epoch": latest.epoch, "offset": 0})
    pages = 1
    while frame["more"]:
        frame = await client.subscribe("job.1", position_of(frame))
        pages += 1
    assert (pages, frame["offset"]) == (2, 100)


async def test_wrong_epoch_is_not_answered_without_a_limit(serve: Serve) -> None:
    site = await serve(limit_frames_per_second=0.5)
    await site.fill("job.1", [1, 2, 3])
    client = await site.connect()
    await client.send("subscribe", channel="job.1", position={"epoch": "aaaaaaaa", "offset": 3})
    for _ in range(1_000):
        answer = await client.receive()
        if answer["type"] == "refused":
            assert answer["code"] == 429
            return
        if answer["type"] == "subscribed":
            await client.send(
                "subscribe", channel="job.1", position={"epoch": "aaaaaaaa", "offset": 3}
            )
    raise AssertionError("no refusal")


@pytest.mark.parametrize("value", ["cross-site", "same-site"])
@pytest.mark.parametrize("route", ["sse?channel=user-ann", "latest?channel=user-ann"])
async def test_page_of_another_site_cannot_open_a_stream_as_an_image(
    serve: Serve, route: str, value: str
) -> None:
    site = await serve(make_bridge(authenticate=lambda _: "ann"))
    answer = await ask(site.origin, get(f"/realtime/{route}", f"sec-fetch-site: {value}"))
    assert (answer.status, b"bad_origin" in answer.body) == (403, True)


@pytest.mark.parametrize("value", ["same-origin", "none", None, "cross-site"])
async def test_stream_of_an_allowed_page_opens(serve: Serve, value: str | None) -> None:
    listed = "https://app.example"
    bridge = make_bridge(authenticate=lambda _: "ann", origins=[listed])
    site = await serve(bridge)
    headers = [] if value is None else [f"sec-fetch-site: {value}"]
    if value == "cross-site":
        headers.append(f"origin: {listed}")
    answer = await ask(site.origin, get("/realtime/sse?channel=user-ann", *headers), head_only=True)
    assert answer.status == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "\ud800"},
        {"sub": "a\udfffb"},
        {"sub": "ann", "cid": "\ud800"},
        {"sub": "ann", "cid": 7},
        {"sub": "ann", "channels": ["job.\ud800"]},
    ],
)
async def test_half_a_character_in_a_token_is_refused(site: Site, claims: dict[str, Any]) -> None:
    fixed = {"iss": "realtime", "aud": "realtime", "exp": int(time.time()) + 60}
    token = jwt.encode({**fixed, **claims}, SECRET, algorithm="HS256")
    bearer = f"Bearer {token}"
    bodies: dict[str, Any] = {"connect": {}, "poll": {"positions": {}}}
    for route, body in bodies.items():
        status, answer = await site.post(route, body, authorization=bearer)
        assert (status, answer["error"]["code"]) == (401, "bad_token")
    client = await site.open()
    await client.send("connect", token=token, nonce="n", version=1)
    assert (await client.failed())[0] == CloseCode.TOKEN


@pytest.mark.parametrize("route", ["ws", "poll", "latest", "sse"])
async def test_failing_rule_has_one_traceback(
    serve: Serve, route: str, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = make_bridge()

    def broken(user: str, job: str) -> bool:
        raise ZeroDivisionError(user)

    bridge.channel("job.{job}")(broken)
    site = await serve(bridge)
    token = site.token("42", "none")
    bearer = f"authorization: Bearer {token}"
    for number in range(5):
        channel = f"job.{number}"
        if route == "ws":
            client = await site.connect("42", "none")
            await client.send("subscribe", channel=channel, position=None)
            assert (await client.expect("refused"))["code"] == 500
        elif route == "poll":
            answer = await site.poll({channel: None}, channels=["none"])
            assert answer[1]["channels"][channel]["error"]["code"] == 500
        else:
            path = f"/realtime/{route}?channel={channel}"
            await ask(site.origin, get(path, bearer), head_only=True)
    await until(lambda: caplog.text.count("ZeroDivisionError"))
    assert len([one for one in caplog.records if one.exc_info]) == 1


async def test_failing_authentication_has_one_traceback(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object) -> str:
        raise ZeroDivisionError("no database")

    site = await serve(make_bridge(authenticate=broken))
    for _ in range(5):
        assert (await site.post("connect", {}))[0] == 500
        assert (await site.post("poll", {"positions": {}}))[0] == 500
    assert len([one for one in caplog.records if one.exc_info]) <= 2  # one for each event
