"""Attacks on revocation: exchanged tokens, clocks that differ, requests in progress."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from aiohttp import ClientSession
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from realtime_bridge.errors import ConfigurationError, InvalidEventError, InvalidIdentityError
from realtime_bridge.model.channel import CONTROL
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.publishing.latest_keys import MAX_KEYS
from realtime_bridge.protocol.wire import messages
from realtime_bridge.server import Bridge, Principal
from realtime_bridge.server.auth.revocations import Revocation, Revocations
from realtime_bridge_backends.memory import MemoryBackend
from tests.nodes.cluster import ROOT, Cluster
from tests.server.harness import SECRET as SITE_SECRET
from tests.server.harness import Serve, Site, make_bridge, until
from tests.services.redis import RedisServer

CLOCK = ROOT / "tests" / "services" / "clock"
PATIENT_SECONDS = 60.0

REVOKED_SECONDS = 1.0
"""Age of a revocation from which the user receives nothing."""


@dataclass
class Intruder:
    """User who exchanges each token for the next one, at every node, and listens with all."""

    urls: list[str]
    http: ClientSession
    exits: AsyncExitStack
    tokens: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    received: list[Any] = field(default_factory=list)
    sockets: int = 0

    async def loop(self, url: str) -> None:
        """Connect without an end, by the session and by the newest token in turn."""
        while True:
            for bearer in (
                {},
                {"authorization": f"Bearer {self.tokens[-1]}"} if self.tokens else {},
            ):
                async with self.http.post(f"{url}/connect", json={}, headers=bearer) as answer:
                    fields = await answer.json()
                if answer.status == 200:
                    self.tokens.append(fields["token"])
                else:
                    self.refusals.append(fields["error"]["code"])
            await asyncio.sleep(0)

    async def listen(self, url: str, token: str) -> str | None:
        """Subscribe with a token; return the reason of a refusal, or listen until the end."""
        address = f"{url.replace('http', 'ws', 1)}/ws"
        async with connect(address, proxy=None) as socket:
            with suppress(ConnectionClosed):
                for frame in (
                    messages.encode("connect", token=token, nonce="n", version=1),
                    messages.encode("subscribe", channel="job.7"),
                ):
                    await socket.send(frame.decode())
                async for text in socket:
                    frame = orjson.loads(text)
                    if frame["type"] == "error":
                        return str(frame.get("reason"))
                    self.sockets += frame["type"] == "subscribed"
                    if frame["type"] == "event":
                        self.received.append(frame["data"])
        return None


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis", "--save", "") as server:
        yield server


@pytest.mark.parametrize("seconds_ahead", [2, -2])
async def test_user_who_loops_connect_receives_nothing_after_a_revocation(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds_ahead: int
) -> None:
    banned = tmp_path / "banned"
    variables = {
        "REALTIME_BACKEND": "redis",
        "REALTIME_REDIS_URL": redis_server.url,
        "REALTIME_SECRET": SITE_SECRET,
        "REALTIME_SERVE_TARGET": "tests.security.session_app:bridge",
        "BANNED_FILE": str(banned),
        "PYTHONPATH": str(ROOT),
    }
    wrong = {"PYTHONPATH": f"{CLOCK}:{ROOT}", "CLOCK_OFFSET": str(seconds_ahead)}
    monkeypatch.setenv("REALTIME_REDIS_URL", redis_server.url)
    cluster = await asyncio.to_thread(
        Cluster(2, folder=tmp_path, variables=variables, own={1: wrong}).__enter__
    )
    try:
        await _attack([f"http://127.0.0.1:{port}/realtime" for port in cluster.ports], banned)
    finally:
        await asyncio.to_thread(cluster.__exit__, None, None, None)


async def eventually(condition: Callable[[], object]) -> None:
    """Wait for processes on a busy machine."""
    async with asyncio.timeout(PATIENT_SECONDS):
        while not condition():  # noqa: ASYNC110 -- no event reports it
            await asyncio.sleep(0.01)


async def _attack(urls: list[str], banned: Path) -> None:
    async with AsyncExitStack() as exits:
        http = await exits.enter_async_context(ClientSession())
        intruder = Intruder(urls, http, exits)
        bridge = await exits.enter_async_context(make_bridge(backend="redis"))
        async with asyncio.TaskGroup() as tasks:
            loops = [tasks.create_task(intruder.loop(url)) for url in urls * 2]
            await eventually(lambda: len(intruder.tokens) > 40)
            pairs = [(url, token) for token in intruder.tokens[-10:] for url in urls]
            listeners = [tasks.create_task(intruder.listen(*pair)) for pair in pairs]
            await eventually(lambda: intruder.sockets >= len(listeners))
            await bridge.publish("job.7", "job.step", "before")
            await eventually(lambda: intruder.received.count("before") >= len(listeners))
            await asyncio.to_thread(banned.touch)
            await bridge.revoke(user="42")
            await _publish_until_closed(bridge, listeners)
            count = len(intruder.refusals)
            await eventually(lambda: len(intruder.refusals) > count + 8)
            for task in loops:
                task.cancel()
        # Whatever the loops got, until their last moment, opens nothing at either node.
        newest = [(url, token) for token in intruder.tokens[-20:] for url in urls]
        assert {await intruder.listen(*pair) for pair in newest} == {"revoked"}
        ages = [age for age in intruder.received if age != "before"]
        assert [age for age in ages if age > REVOKED_SECONDS] == []
        assert set(intruder.refusals[count:]) <= {"revoked", "not_signed_in"}


async def _publish_until_closed(bridge: Bridge, listeners: list[asyncio.Task[str | None]]) -> None:
    """Publish the seconds since the revocation, until both nodes have closed every connection."""
    revoked = time.monotonic()
    async with asyncio.timeout(PATIENT_SECONDS):
        while not all(listener.done() for listener in listeners):
            await bridge.publish("job.7", "job.step", time.monotonic() - revoked)
            await asyncio.sleep(0.01)


async def test_exchanged_token_keeps_its_first_time(site: Site) -> None:
    token = site.token("42", "job.*")
    first = jwt.decode(token, options={"verify_signature": False})
    for _ in range(3):
        _, descriptor = await site.post("connect", {}, authorization=f"Bearer {token}")
        token = descriptor["token"]
    assert jwt.decode(token, options={"verify_signature": False})["iat"] == first["iat"]


@pytest.mark.parametrize("seconds_ahead", [0.5, 2, 20, 29])
async def test_token_of_a_clock_ahead_is_revoked_at_every_door(
    site: Site, seconds_ahead: float
) -> None:
    now = time.time()
    claims = {"iss": "realtime", "aud": "realtime", "sub": "42", "exp": now + 600}
    token = jwt.encode(claims | {"iat": now + seconds_ahead, "channels": ["*"]}, SITE_SECRET)
    client = await site.open()
    await client.introduce(token)
    await site.bridge.revoke(user="42")
    assert (await client.closed())[0] == 4403
    bearer = f"Bearer {token}"
    for route, body in (("poll", {"positions": {"job.7": None}}), ("connect", {}), ("sse", {})):
        status, answer = await site.post(route, body, authorization=bearer)
        assert (status, answer["error"]["code"]) == (401, "revoked"), route
    client = await site.open()
    await client.send("connect", token=token, nonce="n", version=1)
    _, error = await client.failed()
    assert error["reason"] == "revoked"


async def test_sign_in_that_a_revocation_overtakes_is_revoked(serve: Serve) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow_session(_: object) -> str:
        asked.set()
        await answer.wait()
        return "42"

    site = await serve(make_bridge(authenticate=slow_session))
    pending = asyncio.create_task(site.post("connect", {}))
    await asked.wait()
    await site.bridge.revoke(user="42")
    await until(lambda: site.context.connections.access.revocations)
    answer.set()
    _, descriptor = await pending
    bearer = f"Bearer {descriptor['token']}"
    status, refusal = await site.post("poll", {"positions": {}}, authorization=bearer)
    assert (status, refusal["error"]["code"]) == (401, "revoked")


async def test_long_poll_by_session_returns_nothing_after_a_revocation(serve: Serve) -> None:
    site = await serve(make_bridge(authenticate=lambda _: "42"))
    _, answer = await site.post("poll", {"positions": {"user-42": None}})
    body = {"positions": {"user-42": answer["channels"]["user-42"]["position"]}, "wait": 20}
    pending = asyncio.create_task(site.post("poll", body))
    fanouts = site.context.hub.fanouts
    await until(lambda: "user-42" in fanouts and fanouts["user-42"].in_use)
    await site.bridge.publish_many([Revocation(user="42", channel=None).event()])
    await site.bridge.publish("user-42", "job.secret")
    assert (await pending)[1]["channels"]["user-42"]["error"]["code"] == 403


async def test_earlier_revocation_closes_no_later_sign_in(serve: Serve) -> None:
    site = await serve(make_bridge(authenticate=lambda _: "42"))
    await site.bridge.revoke(user="42")
    await until(lambda: site.context.connections.access.revocations)
    _, descriptor = await site.post("connect", {})
    client = await site.open()
    await client.introduce(descriptor["token"])
    # After a gap in the feed the server reads all revocations again.
    site.context.hub.fanouts[CONTROL].reset(
        Reset(reason="truncated", top=await site.bridge.position(CONTROL))
    )
    other = await site.connect("43")
    await site.bridge.revoke(user="43")
    assert (await other.closed())[0] == 4403
    await client.ping()


async def test_revocation_applies_to_tokens_of_a_day() -> None:
    revocations = Revocations()
    now = time.time()
    revocations.add_event({"user": "42", "channel": None}, round((now - 3_600) * 1_000))
    revocations.add_event({"user": "43", "channel": None}, round(now * 1_000))
    assert not revocations.allow(Principal(user="42", issued=now - 7_200, expires=now + 86_400))
    assert revocations.allow(Principal(user="42", issued=now - 1_800, expires=now + 86_400))


def test_repeated_revocation_does_not_keep_the_older_ones() -> None:
    revocations, now = Revocations(), time.time()
    for user, age in (("1", 9 * 86_400), ("2", 8 * 86_400), ("1", 86_400), ("3", 0)):
        revocations.add_event({"user": user, "channel": None}, round((now - age) * 1_000))
    assert [revocation.user for revocation in revocations] == ["1", "3"]


async def test_token_older_than_all_that_the_log_kept_is_refused() -> None:
    log, revocations = MemoryBackend(), Revocations()
    events = [Revocation(user=f"{number}", channel=None).event() for number in range(MAX_KEYS + 1)]
    for start in range(0, len(events), 500):
        await log.append(events[start : start + 500])
    await revocations.read(log)
    assert Revocation(user="0", channel=None) not in revocations
    before = Principal(user="0", known_revocation=0.0)
    assert not revocations.allow(before)
    assert revocations.allow(Principal(user="0", known_revocation=revocations.latest))


@pytest.mark.parametrize("identity", [42, uuid.UUID(int=42), "ann"])
async def test_revoke_takes_the_id_that_authenticate_returned(serve: Serve, identity: Any) -> None:
    site = await serve(make_bridge(authenticate=lambda _: identity))
    _, descriptor = await site.post("connect", {})
    client = await site.open()
    await client.introduce(descriptor["token"])
    await site.bridge.revoke(user=identity)
    assert (await client.closed())[0] == 4403


@pytest.mark.parametrize("empty", ["", 0, False])
async def test_revoking_an_empty_id_revokes_no_channel(site: Site, empty: Any) -> None:
    client = await site.connect("42")
    await client.subscribe("job.7")
    for channel in (None, "job.7"):
        with pytest.raises(InvalidIdentityError):
            await site.bridge.revoke(user=empty, channel=channel)
    await site.bridge.publish("job.7", "job.step")
    await client.events(1)


async def test_revoking_what_cannot_exist_is_an_error(site: Site) -> None:
    with pytest.raises(InvalidIdentityError, match="is a dict"):
        await site.bridge.revoke(user={"id": 42})  # type: ignore[arg-type]
    with pytest.raises(InvalidEventError):
        await site.bridge.revoke(channel="job 7")
    with pytest.raises(ConfigurationError):
        await site.bridge.revoke()


async def test_result_states_what_a_log_in_memory_forgets(serve: Serve) -> None:
    site = await serve()
    (sentence,) = (await site.bridge.revoke(user="42")).remaining
    assert "after a restart" in sentence
