"""Pusher backend on a local Pusher: batches, limits, errors with hints, and authorization."""

import asyncio
import hashlib
import hmac
import json
import logging
import re
import subprocess
import sys
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
from realtime_bridge.publishing.failover import Failover, FailoverTarget
from realtime_bridge.settings import Settings
from realtime_bridge.testing import BackendContract, FaultyProxy
from realtime_bridge.testing.providers import LocalPusher
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.pusher import PusherBackend, PusherTiming
from realtime_bridge_backends.pusher.backend import LONGEST_PREFIX
from realtime_bridge_backends.pusher.errors import EventTooLargeError, read_answer

EPOCH = "k3v9q2wz"


def create_backend(pusher: LocalPusher, **changes: Any) -> PusherBackend:
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
    async with create_backend(pusher) as backend:
        yield backend


class Listener:
    """Client of the provider on one channel."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def frame(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            frame: dict[str, Any] = json.loads(await self._socket.recv())
            return frame

    async def event(self) -> dict[str, Any]:
        """Return our frame in the provider's next event."""
        frame = await self.frame()
        assert frame["event"] == "realtime", frame
        assert len(frame["data"].encode()) <= 10_240
        data: dict[str, Any] = json.loads(frame["data"])
        return data

    async def subscribe(self, pusher: LocalPusher, backend: PusherBackend, channel: str) -> None:
        socket_id = json.loads((await self.frame())["data"])["socket_id"]
        name = f"private-app.{channel}"
        fields = {"socket_id": socket_id, "channel_name": name}
        answer = await backend.authorize(fields, auth_request())
        data = {"channel": name, **(answer or {})}
        await self._socket.send(json.dumps({"event": "pusher:subscribe", "data": data}))
        assert (await self.frame())["event"] == "pusher_internal:subscription_succeeded"


def auth_request(user: str = "42", *, allowed: bool = True) -> AuthorizationRequest:
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
    """Contract on this module's `backend` fixture."""


async def test_pushed_event_is_our_frame(backend: PusherBackend, listener: Listener) -> None:
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


async def test_batches_of_ten_keep_channel_order(
    pusher: LocalPusher, backend: PusherBackend, listener: Listener
) -> None:
    mixed = [
        positioned_event(n, n, channel) for n in range(1, 26) for channel in ("job.7", "job.8")
    ]
    await backend.push(mixed)
    assert pusher.calls == 6
    assert [(await listener.event())["offset"] for _ in range(25)] == list(range(1, 26))


async def test_data_arrives_unchanged(backend: PusherBackend, listener: Listener) -> None:
    values: list[Any] = ["123", "true", 123, True, None, [], "é" * 3_000]
    for offset, data in enumerate(values, start=1):
        await backend.push([positioned_event(data, offset)])
        assert (await listener.event())["data"] == data


@pytest.mark.parametrize("letter", ["a", "é", "😀"])
async def test_limit_counts_encoded_bytes_and_envelope(
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


async def test_too_large_event_without_log_sends_nothing(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    small = Event(channel="job.7", event="job.step", data=1)
    large = Event(channel="job.7", event="job.step", data="x" * 10_240)
    with pytest.raises(PublishError, match="Pusher accepts 10,240: publish less, or set REAL"):
        await backend.push([small, large])
    assert pusher.calls == 0


async def test_all_calls_use_one_connection(pusher: LocalPusher, backend: PusherBackend) -> None:
    for offset in range(1, 6):
        await backend.push([positioned_event(offset, offset)])
    assert (pusher.calls, len(pusher.callers)) == (5, 1)


async def test_stale_connection_loses_no_event(pusher: LocalPusher, listener: Listener) -> None:
    async with FaultyProxy(pusher.port) as proxy:
        port = int(proxy.url.rpartition(":")[2])
        async with create_backend(pusher, port=port) as backend:
            await backend.push([positioned_event(1)])
            proxy.drop(after=0, direction="up")
            await backend.push([positioned_event(2, 2)])
        assert proxy.dropped == 1
    assert [(await listener.event())["offset"] for _ in range(2)] == [1, 2]


def test_backend_works_in_several_event_loops() -> None:
    async def push_in(backend: PusherBackend) -> None:
        async with backend:
            await backend.push([positioned_event(1)])

    async def serve(check: Callable[[int], None]) -> None:
        async with LocalPusher() as pusher:
            await asyncio.to_thread(check, pusher.port)
            assert pusher.calls == 2

    def check(port: int) -> None:
        pusher = LocalPusher()
        pusher.port = port
        backend = create_backend(pusher)
        for _ in range(2):
            asyncio.run(push_in(backend))

    asyncio.run(serve(check))


ERROR_RESPONSES: list[tuple[int, str, type[PublishError], str]] = [
    (
        401,
        "Invalid signature",
        BackendAuthError,
        "check REALTIME_PUSHER_KEY and REALTIME_PUSHER_SECRET",
    ),
    (403, "The app is disabled", BackendAuthError, "enable the app"),
    (403, "over its quota", RateLimitedError, "larger plan"),
    (404, "App not found", BackendAuthError, "REALTIME_PUSHER_APP_ID and REALTIME_PUSHER_CLUSTER"),
    (
        400,
        "not in this cluster",
        BackendAuthError,
        "REALTIME_PUSHER_APP_ID and REALTIME_PUSHER_CLUSTER",
    ),
    (400, "something else", PublishError, "check that REALTIME_PUSHER_HOST is a Pusher"),
    (413, "too large", EventTooLargeError, "Raise the limit of the server or the quota"),
    (422, "not valid", PublishError, "check that REALTIME_PUSHER_HOST is a Pusher"),
    (429, "slow down", RateLimitedError, "publish less often"),
    (500, "oh no", BackendUnavailableError, r"status\.pusher\.com"),
    (302, "elsewhere", PublishError, "check that REALTIME_PUSHER_HOST is a Pusher"),
]
RETRYABLE = (RateLimitedError, EventTooLargeError, BackendUnavailableError)


@pytest.mark.parametrize(("status", "text", "error", "hint"), ERROR_RESPONSES)
async def test_error_response_has_its_class_and_hint(
    pusher: LocalPusher,
    backend: PusherBackend,
    status: int,
    text: str,
    error: type[PublishError],
    hint: str,
) -> None:
    pusher.faults.status, pusher.faults.message = status, text
    with pytest.raises(PublishError, match=hint) as caught:
        await backend.push([positioned_event(1)])
    assert type(caught.value) is error
    assert caught.value.retryable is (error in RETRYABLE)
    assert text in str(caught.value)


@pytest.mark.parametrize(("status", "text", "error", "hint"), ERROR_RESPONSES[:-1])
async def test_refusal_in_a_body_with_status_200_is_the_same_error(
    pusher: LocalPusher,
    backend: PusherBackend,
    status: int,
    text: str,
    error: type[PublishError],
    hint: str,
) -> None:
    pusher.faults.error_in_body = True
    pusher.faults.status, pusher.faults.message = status, text
    with pytest.raises(error, match=hint):
        await backend.push([positioned_event(1)])
    (result,) = await backend.check()
    assert result.status == "failed"


async def test_refusal_without_a_status_is_a_refusal() -> None:
    for body in ('{"error": "no"}', '{"error": "no", "code": 4009}', '{"error": {}, "code": "x"}'):
        with pytest.raises(PublishError, match="Pusher answered 400"):
            read_answer(200, body, {})
    assert read_answer(202, '{"ok": true}', {}) == {"ok": True}


@pytest.mark.parametrize("body", ["", "<html>", "[]", "null", "ok"])
async def test_answer_of_another_server_is_unavailable(body: str) -> None:
    with pytest.raises(BackendUnavailableError, match="REALTIME_PUSHER_HOST is a Pusher server"):
        read_answer(200, body, {})


async def test_page_of_a_proxy_fails_over(pusher: LocalPusher) -> None:
    pusher.faults.html = True
    targets = [FailoverTarget("pusher", create_backend(pusher)), FailoverTarget("own", None)]
    async with MemoryBackend() as log, Failover(targets, log) as failover:
        for offset in range(1, 5):
            with pytest.raises(BackendUnavailableError):
                await failover.push([positioned_event(offset, offset)])
        await failover.push([positioned_event(5, 5)])
        assert failover.active.name == "own"
        (result, *_) = await failover.check()
    assert result.status == "failed"


async def test_lower_limit_of_a_server_fails_over(pusher: LocalPusher) -> None:
    pusher.faults.status = 413
    targets = [FailoverTarget("pusher", create_backend(pusher)), FailoverTarget("own", None)]
    async with MemoryBackend() as log, Failover(targets, log) as failover:
        for offset in range(1, 5):
            with pytest.raises(EventTooLargeError):
                await failover.push([positioned_event(offset, offset)])
        await failover.push([positioned_event(5, 5)])
        assert failover.active.name == "own"


@pytest.mark.parametrize("in_body", [False, True])
async def test_refused_channel_costs_the_others_of_its_batch_nothing(
    pusher: LocalPusher, backend: PusherBackend, listener: Listener, *, in_body: bool
) -> None:
    pusher.faults.max_name, pusher.faults.error_in_body = 100, in_body
    events = [positioned_event(n, n) for n in range(1, 10)]
    long = positioned_event(0, 1, "x" * 100)
    with pytest.raises(PublishError, match="Invalid channel name"):
        await backend.push([*events[:4], long, *events[4:]])
    assert [(await listener.event())["offset"] for _ in range(9)] == list(range(1, 10))


async def test_rate_limit_error_has_retry_after(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    pusher.faults.status = 429
    with pytest.raises(RateLimitedError) as caught:
        await backend.push([positioned_event(1)])
    assert caught.value.retry_after == 1.0


@pytest.mark.parametrize(
    ("changes", "error", "hint"),
    [
        ({"secret": "wrong"}, BackendAuthError, "_SECRET"),
        ({"key": "wrong"}, BackendAuthError, "REALTIME_PUSHER_KEY"),
        ({"app_id": "9"}, BackendAuthError, "_APP_ID and REALTIME_PUSHER_CLUSTER"),
        ({"host": "no-such-host.invalid"}, BackendUnavailableError, "REALTIME_PUSHER_CLUSTER"),
        ({"port": 1}, BackendUnavailableError, "check REALTIME_PUSHER_HOST"),
    ],
)
async def test_wrong_configuration_is_named(
    pusher: LocalPusher, changes: dict[str, Any], error: type[PublishError], hint: str
) -> None:
    async with create_backend(pusher, **changes) as backend:
        with pytest.raises(error, match=hint):
            await backend.push([positioned_event(1)])
        (result,) = await backend.check()
    assert result.status == "failed"


async def test_disabled_app_and_quota_have_different_errors(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    pusher.state = "disabled"
    with pytest.raises(BackendAuthError, match="enable the app"):
        await backend.push([positioned_event(1)])
    pusher.state = "over its quota"
    with pytest.raises(RateLimitedError, match="larger plan"):
        await backend.push([positioned_event(1)])


async def test_slow_provider_times_out(pusher: LocalPusher) -> None:
    pusher.faults.seconds = 5
    async with create_backend(pusher, timing=PusherTiming(call_seconds=0.1)) as backend:
        with pytest.raises(BackendUnavailableError, match="no answer in time") as caught:
            await backend.push([positioned_event(1)])
    assert_redacted(caught.value, pusher)


async def test_errors_hold_no_key_secret_or_signed_url(
    pusher: LocalPusher, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pusher.faults.message = f"bad key {pusher.key} or secret {pusher.secret}"
    for status in (400, 401, 403, 500):
        pusher.faults.status = status
        async with create_backend(pusher) as backend:
            with pytest.raises(PublishError) as caught:
                await backend.push([positioned_event(1)])
        assert_redacted(caught.value, pusher)
    for changes in ({"port": 1}, {"host": "no-such-host.invalid"}):
        async with create_backend(pusher, **changes) as backend:
            with pytest.raises(PublishError) as caught:
                await backend.push([positioned_event(1)])
        assert_redacted(caught.value, pusher)
    assert pusher.secret not in caplog.text
    assert "auth_signature" not in caplog.text


def assert_redacted(error: Exception, pusher: LocalPusher) -> None:
    text = "".join(traceback.format_exception(error))
    for secret in (pusher.key, pusher.secret, "auth_signature"):
        assert secret not in text


async def test_failed_push_with_log_succeeds_and_push_resumes(
    pusher: LocalPusher, listener: Listener
) -> None:
    async with Broadcaster(log=MemoryBackend(), backend=create_backend(pusher)) as broadcaster:
        pusher.faults.status = 500
        receipt = await broadcaster.publish("job.7", "job.step", 1)
        assert (receipt.pushed, receipt.position and receipt.position.offset) == (False, 1)
        pusher.faults.heal()
        receipt = await broadcaster.publish("job.7", "job.step", 2)
        assert receipt.pushed
    assert (await listener.event())["offset"] == 2


async def test_failed_push_without_log_raises(pusher: LocalPusher) -> None:
    pusher.faults.status = 401
    async with Broadcaster(backend=create_backend(pusher)) as broadcaster:
        with pytest.raises(BackendAuthError):
            await broadcaster.publish("job.7", "job.step", 1)


async def test_blocking_broadcaster_publishes(pusher: LocalPusher, listener: Listener) -> None:
    def publish() -> None:
        with BlockingBroadcaster(
            lambda: Broadcaster(backend=create_backend(pusher))
        ) as broadcaster:
            broadcaster.publish("job.7", "job.step", "from a thread")

    await asyncio.to_thread(publish)
    assert (await listener.event())["data"] == "from a thread"


def signature(pusher: LocalPusher, text: str) -> str:
    digest = hmac.new(pusher.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return f"{pusher.key}:{digest}"


async def test_private_subscription_is_signed(pusher: LocalPusher, backend: PusherBackend) -> None:
    fields = {"socket_id": "1.2", "channel_name": "private-app.job.7"}
    answer = await backend.authorize(fields, auth_request())
    assert answer == {"auth": signature(pusher, "1.2:private-app.job.7")}


async def test_presence_subscription_names_the_user(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    fields = {"socket_id": "1.2", "channel_name": "presence-app.job.7"}
    answer = await backend.authorize(fields, auth_request("ann"))
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
async def test_foreign_channel_name_is_not_granted(backend: PusherBackend, name: str) -> None:
    assert (
        await backend.authorize({"socket_id": "1.2", "channel_name": name}, auth_request()) is None
    )


async def test_user_without_access_gets_no_signature(backend: PusherBackend) -> None:
    fields = {"socket_id": "1.2", "channel_name": "private-app.job.7"}
    assert await backend.authorize(fields, auth_request(allowed=False)) is None


async def test_many_channels_are_signed_in_one_request(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    async def allow(channel: str) -> bool:
        if channel == "job.8":
            raise ValueError(channel)
        return channel == "job.7"

    request = AuthorizationRequest(user="42", client="c_1", seconds=600, allow=allow)
    names = "private-app.job.7 private-app.job.8 private-app.job.9 private-other.job.7"
    answer = await backend.authorize({"socket_id": "1.2", "channel_names": names}, request)
    assert answer is not None
    assert answer["channels"] == {
        "private-app.job.7": {"auth": signature(pusher, "1.2:private-app.job.7")}
    }
    assert answer["failed"] == ["private-app.job.8"]
    user_data = answer["user"]["user_data"]
    assert answer["user"]["auth"] == signature(pusher, f"1.2::user::{user_data}")
    assert await backend.authorize({"socket_id": "1.2"}, request) == answer["user"]


@pytest.mark.parametrize(
    ("user", "known"), [("42", "42"), ("auth0|1", None), ("é", None), ("a" * 200, None)]
)
async def test_user_has_a_valid_id_at_pusher(
    backend: PusherBackend, user: str, known: str | None
) -> None:
    answer = await backend.authorize({"socket_id": "1.2"}, auth_request(user))
    assert answer is not None
    identity = json.loads(answer["user_data"])["id"]
    assert re.fullmatch(r"[A-Za-z0-9_=@,.;-]{1,128}", identity)
    assert known in (None, identity)


@pytest.mark.parametrize("names", ["", " ", " ".join(f"private-app.{n}" for n in range(201))])
async def test_number_of_requested_channels_is_limited(backend: PusherBackend, names: str) -> None:
    with pytest.raises(AuthRequestError, match="channel_names"):
        await backend.authorize({"socket_id": "1.2", "channel_names": names}, auth_request())


@pytest.mark.parametrize("socket_id", ["", "1", "1.2:private-app.other", "a.b"])
async def test_malformed_socket_id_is_rejected(backend: PusherBackend, socket_id: str) -> None:
    for name in ("channel_name", "channel_names"):
        fields = {"socket_id": socket_id, name: "private-app.job.7"}
        with pytest.raises(AuthRequestError, match="socket_id"):
            await backend.authorize(fields, auth_request())
    with pytest.raises(AuthRequestError, match="socket_id"):
        await backend.authorize({"socket_id": socket_id}, auth_request())


@given(
    channel=st.from_regex(rf"[{ALPHABET}]{{1,128}}", fullmatch=True).filter(
        lambda name: not name.startswith(("private-", "presence-"))
    ),
    prefix=st.from_regex(rf"[A-Za-z0-9_-]{{1,{LONGEST_PREFIX}}}", fullmatch=True),
)
def test_channel_names_at_pusher_are_reversible(channel: str, prefix: str) -> None:
    for start in (f"private-{prefix}.", f"presence-{prefix}."):
        names = ProviderNames(start)
        assert names.decode(names.encode(channel)) == channel
        assert len(names.encode(channel)) <= 164


def test_too_long_prefix_is_rejected(pusher: LocalPusher) -> None:
    with pytest.raises(ConfigurationError, match=f"Use at most {LONGEST_PREFIX}"):
        create_backend(pusher, prefix="p" * (LONGEST_PREFIX + 1))


@pytest.mark.parametrize("start", ["REALTIME_PUSHER_", "PUSHER_"])
def test_settings_accept_our_names_and_the_vendors(
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
def test_automatic_log_is_redis_if_its_url_is_set(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], log: str
) -> None:
    names = {"PUSHER_APP_ID": "7", "PUSHER_KEY": "k", "PUSHER_SECRET": "s"}
    for name, value in {**names, **variables}.items():
        monkeypatch.setenv(name, value)
    parts = pipeline.worker_pipeline(Settings(backend="pusher"))
    assert type(parts.log).__name__ == log
    assert isinstance(parts.backend, PusherBackend)


def test_bad_settings_are_named_and_redacted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REALTIME_PUSHER_APP_ID", "a b")
    monkeypatch.setenv("REALTIME_PUSHER_SECRET", "hush")
    with pytest.raises(ConfigurationError) as caught:
        PusherBackend.from_settings(Settings())
    assert "REALTIME_PUSHER_APP_ID" in str(caught.value)
    assert "REALTIME_PUSHER_KEY" in str(caught.value)
    assert "hush" not in str(caught.value)


async def test_options_name_a_host_other_than_pusher(
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


def test_browsers_may_reach_the_server_at_another_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variables = {"APP_ID": "app", "KEY": "k", "SECRET": "s", "HOST": "soketi", "PORT": "6001"}
    for name, value in variables.items():
        monkeypatch.setenv(f"REALTIME_PUSHER_{name}", value)
    monkeypatch.setenv("REALTIME_PUSHER_TLS", "off")
    monkeypatch.setenv("REALTIME_PUSHER_CLIENT_HOST", "push.example.com")
    monkeypatch.setenv("REALTIME_PUSHER_CLIENT_TLS", "on")
    backend = PusherBackend.from_settings(Settings())
    assert str(backend) == "Pusher (soketi)"
    places = {name: backend.options[name] for name in ("host", "port", "tls")}
    assert places == {"host": "push.example.com", "port": 443, "tls": True}


@pytest.mark.parametrize("variable", ["HOST", "CLIENT_HOST"])
@pytest.mark.parametrize("host", ["127.0.0.1:6001", "http://soketi", "a b", "::1", "soketi/", "-"])
def test_host_with_anything_else_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, pusher: LocalPusher, variable: str, host: str
) -> None:
    for name, value in {"APP_ID": "7", "KEY": "k", "SECRET": "s", variable: host}.items():
        monkeypatch.setenv(f"REALTIME_PUSHER_{name}", value)
    with pytest.raises(ConfigurationError, match=f"REALTIME_PUSHER_{variable}: write the host al"):
        PusherBackend.from_settings(Settings())
    with pytest.raises(ConfigurationError, match=f"_{variable}=.* write the host alone"):
        create_backend(pusher, **{variable.lower(): host})


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "my_soketi", "push.example.com"])
def test_host_is_accepted(pusher: LocalPusher, host: str) -> None:
    assert create_backend(pusher, host=host).options["host"] == host


def test_publisher_and_browsers_have_one_cluster_by_default(pusher: LocalPusher) -> None:
    backend = create_backend(pusher, host=None, port=None, tls=True)
    assert backend.options["cluster"] == "mt1"
    assert "host" not in backend.options
    assert str(backend) == "Pusher (api-mt1.pusher.com)"


async def test_app_id_is_a_name_at_another_server_alone() -> None:
    async with LocalPusher(app_id="my-app") as pusher, create_backend(pusher) as backend:
        await backend.push([positioned_event(1)])
        assert pusher.calls == 1
        with pytest.raises(ConfigurationError, match="APP_ID is no number"):
            create_backend(pusher, host=None)


def test_publish_without_a_context_leaves_no_open_session() -> None:
    program = """
import asyncio
from realtime_bridge import Broadcaster
from realtime_bridge.testing.providers import LocalPusher
from realtime_bridge_backends.pusher import PusherBackend
async def publish():
    async with LocalPusher() as pusher:
        backend = PusherBackend("1001", "local-key", "local-secret",
                                host="127.0.0.1", port=pusher.port, tls=False)
        await Broadcaster(backend=backend).publish("job.7", "job.step", 1)
        assert pusher.calls == 1
asyncio.run(publish())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("", "")


async def test_check_reports_a_reachable_app(backend: PusherBackend) -> None:
    (result,) = await backend.check()
    assert (result.check, result.status) == ("pusher", "ok")


async def sign_in(pusher: LocalPusher, backend: PusherBackend, user: str) -> ClientConnection:
    url = f"ws://127.0.0.1:{pusher.port}/app/{pusher.key}?protocol=7&client=test"
    socket = await connect(url, proxy=None)
    listener = Listener(socket)
    socket_id = json.loads((await listener.frame())["data"])["socket_id"]
    data = await backend.authorize({"socket_id": socket_id}, auth_request(user))
    await socket.send(json.dumps({"event": "pusher:signin", "data": data}))
    assert (await listener.frame())["event"] == "pusher:signin_success"
    return socket


@pytest.mark.parametrize("user", ["42", "auth0|1", "a@b.c"])
async def test_revoked_user_who_signed_in_is_disconnected(
    pusher: LocalPusher, backend: PusherBackend, listener: Listener, user: str
) -> None:
    socket, other = [await sign_in(pusher, backend, name) for name in (user, "43")]
    (sentence,) = await backend.revoke(user, None)
    assert "did not sign in keep their channels" in sentence
    async with asyncio.timeout(10):
        await socket.wait_closed()
    assert socket.close_code == 4009
    await backend.push([positioned_event(1)])
    assert (await listener.event())["offset"] == 1
    await other.close()


async def test_revoked_channel_remains_for_other_programs(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    (sentence,) = await backend.revoke(None, "job.7")
    assert "keep job.7 until they connect again" in sentence
    assert pusher.calls == 0


async def test_revocation_that_the_server_refuses_is_an_error(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    pusher.faults.status = 404
    with pytest.raises(BackendAuthError):
        await backend.revoke("42", None)
