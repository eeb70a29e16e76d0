"""Pusher through its official SDK: batches, limits, errors with a cure, and permission."""

import asyncio
import hashlib
import hmac
import json
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect

from realtime_bridge import (
    BackendAuthError,
    BackendUnavailableError,
    BlockingBroadcaster,
    Broadcaster,
    ConfigurationError,
    Event,
    Position,
    PublishError,
    RateLimitedError,
)
from realtime_bridge.backend.hosted import AuthorizationRequest
from realtime_bridge.errors import AuthRequestError
from realtime_bridge.model.channel import ALPHABET
from realtime_bridge.protocol.wire.provider_names import ProviderNames
from realtime_bridge.publishing import pipeline
from realtime_bridge.settings import Settings
from realtime_bridge.testing import BackendContract
from realtime_bridge.testing.providers import LocalPusher
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.pusher import PusherBackend
from realtime_bridge_backends.pusher.backend import LONGEST_PREFIX

EPOCH = "k3v9q2wz"


def backend_of(pusher: LocalPusher, **changes: Any) -> PusherBackend:
    options: dict[str, Any] = {
        "app_id": pusher.app_id,
        "key": pusher.key,
        "secret": pusher.secret,
        "host": "127.0.0.1",
        "port": pusher.port,
        "tls": False,
        "prefix": "app",
    }
    return PusherBackend(**options | changes)


@pytest_asyncio.fixture
async def pusher() -> AsyncIterator[LocalPusher]:
    async with LocalPusher() as pusher:
        yield pusher


@pytest_asyncio.fixture
async def backend(pusher: LocalPusher) -> AsyncIterator[PusherBackend]:
    async with backend_of(pusher) as backend:
        yield backend


class Listener:
    """A client of the provider, as far as one channel goes."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def frame(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            frame: dict[str, Any] = json.loads(await self._socket.recv())
            return frame

    async def event(self) -> dict[str, Any]:
        """Return our frame within the provider's next event."""
        frame = await self.frame()
        assert frame["event"] == "realtime", frame
        assert len(frame["data"].encode()) <= 10_240
        ours: dict[str, Any] = json.loads(frame["data"])
        return ours

    async def subscribe(self, pusher: LocalPusher, backend: PusherBackend, channel: str) -> None:
        socket_id = json.loads((await self.frame())["data"])["socket_id"]
        name = f"private-app.{channel}"
        fields = {"socket_id": socket_id, "channel_name": name}
        answer = await backend.authorize(fields, visitor())
        data = {"channel": name, **(answer or {})}
        await self._socket.send(json.dumps({"event": "pusher:subscribe", "data": data}))
        assert (await self.frame())["event"] == "pusher_internal:subscription_succeeded"


def visitor(user: str = "42", *, allowed: bool = True) -> AuthorizationRequest:
    async def allow(_: str) -> bool:
        return allowed

    return AuthorizationRequest(user=user, client="c_1", seconds=600, allow=allow)


@pytest_asyncio.fixture
async def listener(pusher: LocalPusher, backend: PusherBackend) -> AsyncIterator[Listener]:
    url = f"ws://127.0.0.1:{pusher.port}/app/{pusher.key}?protocol=7&client=test"
    async with connect(url, proxy=None) as socket:
        listener = Listener(socket)
        await listener.subscribe(pusher, backend, "job.7")
        yield listener


def positioned_event(data: Any, offset: int = 1, channel: str = "job.7") -> Event:
    event = Event(channel=channel, event="job.step", data=data, id=f"{channel}-{offset}")
    return event.with_position(Position(EPOCH, offset, event.id), 1_763_836_800_123)


class TestContract(BackendContract):
    """The fixture is that of this module."""


async def test_an_event_arrives_as_the_frame_that_every_transport_has(
    backend: PusherBackend, listener: Listener
) -> None:
    await backend.push([positioned_event({"percent": 30})])
    assert await listener.event() == {
        "type": "event",
        "channel": "job.7",
        "event": "job.step",
        "id": "job.7-1",
        "epoch": EPOCH,
        "offset": 1,
        "time": 1_763_836_800_123,
        "data": {"percent": 30},
    }


async def test_batches_of_ten_keep_the_order_of_each_channel(
    pusher: LocalPusher, backend: PusherBackend, listener: Listener
) -> None:
    mixed = [
        positioned_event(n, n, channel) for n in range(1, 26) for channel in ("job.7", "job.8")
    ]
    await backend.push(mixed)
    assert pusher.calls == 6
    assert [(await listener.event())["offset"] for _ in range(25)] == list(range(1, 26))


async def test_what_text_alone_would_change_on_the_way_arrives_as_it_was(
    backend: PusherBackend, listener: Listener
) -> None:
    hard: list[Any] = ["123", "true", 123, True, None, [], "é" * 3_000]
    for offset, data in enumerate(hard, start=1):
        await backend.push([positioned_event(data, offset)])
        assert (await listener.event())["data"] == data


@pytest.mark.parametrize("letter", ["a", "é", "😀"])
async def test_the_limit_is_counted_in_encoded_bytes_with_the_envelope(
    backend: PusherBackend, listener: Listener, letter: str
) -> None:
    room = 10_240 - len(json.dumps(await envelope(backend, listener), separators=(",", ":")))
    size = room // len(letter.encode())
    await backend.push([positioned_event(letter * size, 2)])
    assert (await listener.event())["data"] == letter * size
    await backend.push([positioned_event(letter * (size + 1), 3)])
    stub = {"type": "stub", "channel": "job.7", "epoch": EPOCH, "offset": 3, "id": "job.7-3"}
    assert await listener.event() == stub


async def envelope(backend: PusherBackend, listener: Listener) -> dict[str, Any]:
    await backend.push([positioned_event("")])
    return await listener.event()


async def test_without_a_log_what_is_too_large_is_refused_before_anything_is_sent(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    small = Event(channel="job.7", event="job.step", data=1)
    large = Event(channel="job.7", event="job.step", data="x" * 10_240)
    with pytest.raises(PublishError, match="10,240 of Pusher: publish less data, or set REAL"):
        await backend.push([small, large])
    assert pusher.calls == 0


async def test_one_kept_connection_serves_all_calls(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    for offset in range(1, 6):
        await backend.push([positioned_event(offset, offset)])
    assert (pusher.calls, len(pusher.callers)) == (5, 1)


async def test_a_kept_connection_that_had_gone_stale_costs_no_event(
    backend: PusherBackend, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    await backend.push([positioned_event(1)])
    for connections in backend._line.session("127.0.0.1").connector._conns.values():  # type: ignore[union-attr]
        for protocol, _ in connections:
            protocol.transport.abort()  # type: ignore[union-attr]
    await backend.push([positioned_event(2, 2)])
    assert [(await listener.event())["offset"] for _ in range(2)] == [1, 2]


def test_it_works_in_one_event_loop_after_another() -> None:
    async def push_in(backend: PusherBackend) -> None:
        await backend.push([positioned_event(1)])
        await backend._line.close()

    async def serve(check: Callable[[int], None]) -> None:
        async with LocalPusher() as pusher:
            await asyncio.to_thread(check, pusher.port)
            assert pusher.calls == 2

    def check(port: int) -> None:
        pusher = LocalPusher()
        pusher.port = port
        backend = backend_of(pusher)
        for _ in range(2):
            asyncio.run(push_in(backend))

    asyncio.run(serve(check))


REFUSALS: list[tuple[int, str, type[PublishError], str]] = [
    (401, "Invalid signature", BackendAuthError, "check REALTIME_PUSHER_KEY and _SECRET"),
    (403, "The app is disabled", BackendAuthError, "enable the app"),
    (403, "over its quota", RateLimitedError, "larger plan"),
    (404, "App not found", BackendAuthError, "REALTIME_PUSHER_APP_ID and _CLUSTER"),
    (400, "not in this cluster", BackendAuthError, "REALTIME_PUSHER_APP_ID and _CLUSTER"),
    (400, "something else", PublishError, "is REALTIME_PUSHER_HOST a Pusher"),
    (413, "too large", PublishError, "publish less in one event"),
    (429, "slow down", RateLimitedError, "publish less often"),
    (500, "oh no", BackendUnavailableError, r"status\.pusher\.com"),
    (302, "elsewhere", PublishError, "is REALTIME_PUSHER_HOST a Pusher"),
]
RETRYABLE = (RateLimitedError, BackendUnavailableError)


@pytest.mark.parametrize(("status", "text", "error", "cure"), REFUSALS)
async def test_each_refusal_is_an_error_of_its_own_with_a_cure(
    pusher: LocalPusher,
    backend: PusherBackend,
    status: int,
    text: str,
    error: type[PublishError],
    cure: str,
) -> None:
    pusher.faults.status, pusher.faults.message = status, text
    with pytest.raises(PublishError, match=cure) as caught:
        await backend.push([positioned_event(1)])
    assert type(caught.value) is error
    assert caught.value.retryable is (error in RETRYABLE)
    assert text in str(caught.value)


async def test_rate_limiting_says_for_how_long(pusher: LocalPusher, backend: PusherBackend) -> None:
    pusher.faults.status = 429
    with pytest.raises(RateLimitedError) as caught:
        await backend.push([positioned_event(1)])
    assert caught.value.retry_after == 1.0


@pytest.mark.parametrize(
    ("changes", "error", "cure"),
    [
        ({"secret": "wrong"}, BackendAuthError, "_SECRET"),
        ({"key": "wrong"}, BackendAuthError, "REALTIME_PUSHER_KEY"),
        ({"app_id": "9"}, BackendAuthError, "_APP_ID and _CLUSTER"),
        ({"host": "no-such-host.invalid"}, BackendUnavailableError, "REALTIME_PUSHER_CLUSTER"),
        ({"port": 1}, BackendUnavailableError, "is REALTIME_PUSHER_HOST right"),
    ],
)
async def test_what_is_configured_wrongly_is_named(
    pusher: LocalPusher, changes: dict[str, Any], error: type[PublishError], cure: str
) -> None:
    async with backend_of(pusher, **changes) as backend:
        with pytest.raises(error, match=cure):
            await backend.push([positioned_event(1)])
        (finding,) = await backend.check()
    assert finding.status == "failed"


async def test_a_disabled_app_and_one_over_its_quota_are_told_apart(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    pusher.state = "disabled"
    with pytest.raises(BackendAuthError, match="enable the app"):
        await backend.push([positioned_event(1)])
    pusher.state = "over its quota"
    with pytest.raises(RateLimitedError, match="larger plan"):
        await backend.push([positioned_event(1)])


async def test_a_provider_that_takes_too_long_is_given_up(
    pusher: LocalPusher, backend: PusherBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime_bridge_backends.pusher.http.CALL_SECONDS", 0.1)
    pusher.faults.seconds = 5
    with pytest.raises(BackendUnavailableError, match="no answer in time") as caught:
        await backend.push([positioned_event(1)])
    assert_nothing_shows(caught.value, pusher)


async def test_no_error_shows_a_key_a_secret_or_a_signed_address(
    pusher: LocalPusher, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pusher.faults.message = f"bad key {pusher.key} or secret {pusher.secret}"
    for status in (400, 401, 403, 500):
        pusher.faults.status = status
        async with backend_of(pusher) as backend:
            with pytest.raises(PublishError) as caught:
                await backend.push([positioned_event(1)])
        assert_nothing_shows(caught.value, pusher)
    for changes in ({"port": 1}, {"host": "no-such-host.invalid"}):
        async with backend_of(pusher, **changes) as backend:
            with pytest.raises(PublishError) as caught:
                await backend.push([positioned_event(1)])
        assert_nothing_shows(caught.value, pusher)
    assert pusher.secret not in caplog.text
    assert "auth_signature" not in caplog.text


def assert_nothing_shows(error: Exception, pusher: LocalPusher) -> None:
    shown = "".join(traceback.format_exception(error))
    for hidden in (pusher.key, pusher.secret, "auth_signature"):
        assert hidden not in shown


async def test_with_a_log_a_failed_push_is_no_failure_and_the_providers_return_is_noticed(
    pusher: LocalPusher, listener: Listener
) -> None:
    async with Broadcaster(log=MemoryBackend(), backend=backend_of(pusher)) as broadcaster:
        pusher.faults.status = 500
        receipt = await broadcaster.publish("job.7", "job.step", 1)
        assert (receipt.pushed, receipt.position and receipt.position.offset) == (False, 1)
        pusher.faults.heal()
        receipt = await broadcaster.publish("job.7", "job.step", 2)
        assert receipt.pushed
    assert (await listener.event())["offset"] == 2


async def test_without_a_log_a_failed_push_is_the_publishers_to_know(pusher: LocalPusher) -> None:
    pusher.faults.status = 401
    async with Broadcaster(backend=backend_of(pusher)) as broadcaster:
        with pytest.raises(BackendAuthError):
            await broadcaster.publish("job.7", "job.step", 1)


async def test_sync_code_publishes_too(pusher: LocalPusher, listener: Listener) -> None:
    def publish() -> None:
        with BlockingBroadcaster(lambda: Broadcaster(backend=backend_of(pusher))) as broadcaster:
            broadcaster.publish("job.7", "job.step", "from a thread")

    await asyncio.to_thread(publish)
    assert (await listener.event())["data"] == "from a thread"


def signature(pusher: LocalPusher, text: str) -> str:
    made = hmac.new(pusher.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return f"{pusher.key}:{made}"


async def test_a_private_subscription_is_signed_as_pusher_js_expects(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    fields = {"socket_id": "1.2", "channel_name": "private-app.job.7"}
    answer = await backend.authorize(fields, visitor())
    assert answer == {"auth": signature(pusher, "1.2:private-app.job.7")}


async def test_a_presence_subscription_says_who_is_there(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    fields = {"socket_id": "1.2", "channel_name": "presence-app.job.7"}
    answer = await backend.authorize(fields, visitor("ann"))
    assert answer is not None
    member = answer["channel_data"]
    assert json.loads(member) == {"user_id": "ann", "user_info": {}}
    assert answer["auth"] == signature(pusher, f"1.2:presence-app.job.7:{member}")
    json.dumps(answer)


@pytest.mark.parametrize(
    "name",
    [
        "private-other.job.7",
        "app.job.7",
        "private-app.",
        "private-app.a b",
        "",
        "#server-to-user-1",
    ],
)
async def test_a_name_that_is_none_of_ours_is_not_granted(
    backend: PusherBackend, name: str
) -> None:
    assert await backend.authorize({"socket_id": "1.2", "channel_name": name}, visitor()) is None


async def test_who_may_not_listen_gets_no_signature(backend: PusherBackend) -> None:
    fields = {"socket_id": "1.2", "channel_name": "private-app.job.7"}
    assert await backend.authorize(fields, visitor(allowed=False)) is None


@pytest.mark.parametrize("socket_id", ["", "1", "1.2:private-app.other", "a.b"])
async def test_a_socket_id_is_what_pusher_gives(backend: PusherBackend, socket_id: str) -> None:
    fields = {"socket_id": socket_id, "channel_name": "private-app.job.7"}
    with pytest.raises(AuthRequestError, match="socket_id"):
        await backend.authorize(fields, visitor())


@given(
    channel=st.from_regex(rf"[{ALPHABET}]{{1,128}}", fullmatch=True).filter(
        lambda name: not name.startswith(("private-", "presence-"))
    ),
    prefix=st.from_regex(rf"[A-Za-z0-9_-]{{1,{LONGEST_PREFIX}}}", fullmatch=True),
)
def test_every_channel_has_a_name_at_pusher_and_comes_back_from_it(
    channel: str, prefix: str
) -> None:
    for start in (f"private-{prefix}.", f"presence-{prefix}."):
        names = ProviderNames(start)
        assert names.decode(names.encode(channel)) == channel
        assert len(names.encode(channel)) <= 164


def test_a_prefix_that_leaves_no_room_is_refused(pusher: LocalPusher) -> None:
    with pytest.raises(ConfigurationError, match=f"use at most {LONGEST_PREFIX}"):
        backend_of(pusher, prefix="p" * (LONGEST_PREFIX + 1))


@pytest.mark.parametrize("start", ["REALTIME_PUSHER_", "PUSHER_"])
def test_it_is_configured_by_our_names_or_the_vendors(
    monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    for name, value in {"APP_ID": "7", "KEY": "k", "SECRET": "s", "CLUSTER": "eu"}.items():
        monkeypatch.setenv(start + name, value)
    backend = PusherBackend.from_settings(Settings())
    assert str(backend) == "Pusher (api-eu.pusher.com)"
    assert backend.options == {
        "key": "k",
        "cluster": "eu",
        "channel_prefix": "private-realtime.",
    }


@pytest.mark.parametrize(
    ("variables", "log"),
    [({}, "NoneType"), ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "RedisBackend")],
)
def test_the_automatic_log_is_redis_where_its_address_is_set(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], log: str
) -> None:
    names = {"PUSHER_APP_ID": "7", "PUSHER_KEY": "k", "PUSHER_SECRET": "s"}
    for name, value in {**names, **variables}.items():
        monkeypatch.setenv(name, value)
    parts = pipeline.worker_pipeline(Settings(backend="pusher"))
    assert type(parts.log).__name__ == log
    assert isinstance(parts.backend, PusherBackend)


def test_what_is_missing_or_malformed_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REALTIME_PUSHER_APP_ID", "abc")
    monkeypatch.setenv("REALTIME_PUSHER_SECRET", "hush")
    with pytest.raises(ConfigurationError) as caught:
        PusherBackend.from_settings(Settings())
    assert "REALTIME_PUSHER_APP_ID" in str(caught.value)
    assert "REALTIME_PUSHER_KEY" in str(caught.value)
    assert "hush" not in str(caught.value)


async def test_the_browser_is_told_of_a_host_that_is_not_pushers_own(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    assert backend.options == {
        "key": pusher.key,
        "cluster": None,
        "host": "127.0.0.1",
        "port": pusher.port,
        "tls": False,
        "channel_prefix": "private-app.",
    }


async def test_doctor_finds_that_it_answers(backend: PusherBackend) -> None:
    (finding,) = await backend.check()
    assert (finding.check, finding.status) == ("pusher", "ok")
