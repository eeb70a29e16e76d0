"""Ably backend on a local Ably: batches, limits, errors with hints, and authorization."""

import asyncio
import gc
import json
import logging
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import jwt
import pytest
import pytest_asyncio
from ably import AblyRealtime, AblyRest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

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
from realtime_bridge.model.page import Page
from realtime_bridge.protocol.wire.messages import encode_event
from realtime_bridge.protocol.wire.provider_names import ProviderNames
from realtime_bridge.publishing.failover import Failover, FailoverTarget
from realtime_bridge.settings import Settings
from realtime_bridge.testing import BackendContract, FaultyProxy
from realtime_bridge.testing.providers import LocalAbly
from realtime_bridge_backends.ably import AblyBackend, AblyTiming
from realtime_bridge_backends.ably.batches import (
    MAX_PUBLICATION_MESSAGES,
    EncodedEvent,
    split_into_requests,
)
from realtime_bridge_backends.ably.errors import EventTooLargeError, error_from_response
from realtime_bridge_backends.ably.tokens import Signer
from realtime_bridge_backends.memory import MemoryBackend
from tests.server.harness import until

EPOCH = "k3v9q2wz"


def create_backend(ably: LocalAbly, **changes: Any) -> AblyBackend:
    options: dict[str, Any] = {
        "key": ably.key,
        "endpoint": "127.0.0.1",
        "port": ably.port,
        "tls": False,
        "prefix": "app",
    }
    return AblyBackend(**options | changes)


@pytest_asyncio.fixture
async def ably() -> AsyncIterator[LocalAbly]:
    async with LocalAbly() as ably:
        yield ably


@pytest_asyncio.fixture
async def backend(ably: LocalAbly) -> AsyncIterator[AblyBackend]:
    async with create_backend(ably) as backend:
        yield backend


class Listener:
    """Client of the provider, with the rights that our endpoint granted."""

    def __init__(self, client: AblyRealtime) -> None:
        self.client = client
        self.messages: asyncio.Queue[Any] = asyncio.Queue()

    async def subscribe(self, channel: str) -> None:
        await self.client.channels.get(f"app:{channel}").subscribe(self.messages.put_nowait)

    async def event(self) -> dict[str, Any]:
        """Return our frame in the provider's next message."""
        async with asyncio.timeout(10):
            message = await self.messages.get()
        assert message.name == "realtime"
        assert len(message.data.encode()) + len(message.name) <= 65_536
        frame: dict[str, Any] = json.loads(message.data)
        return frame


@pytest_asyncio.fixture
async def listener(ably: LocalAbly, backend: AblyBackend) -> AsyncIterator[Listener]:
    async def callback(_: Any) -> Any:
        return await backend.authorize({"channels": "app:job.7 app:job.8"}, auth_request())

    client = AblyRealtime(auth_callback=callback, endpoint=f"127.0.0.1:{ably.port}", tls=False)
    listener = Listener(client)
    await listener.subscribe("job.7")
    yield listener
    await client.close()


def auth_request(
    user: str = "42", *, allowed: Callable[[str], bool] = lambda _: True
) -> AuthorizationRequest:
    async def allow(channel: str) -> bool:
        return allowed(channel)

    return AuthorizationRequest(user=user, client="c_1", seconds=600, allow=allow)


def positioned_event(data: Any, offset: int = 1, channel: str = "job.7") -> Event:
    event = Event(channel=channel, event="job.step", data=data, id=f"{channel}-{offset}")
    return event.with_position(Position(EPOCH, offset, event.id), 1_763_836_800_123)


class TestContract(BackendContract):
    """Contract on this module's `backend` fixture."""


async def test_pushed_message_is_our_frame_with_our_id(
    backend: AblyBackend, listener: Listener
) -> None:
    await backend.push([positioned_event({"percent": 30})])
    message = await listener.messages.get()
    assert message.id == "job.7-1"
    assert json.loads(message.data) == {
        "type": "event",
        "channel": "job.7",
        "event": "job.step",
        "id": "job.7-1",
        "epoch": EPOCH,
        "offset": 1,
        "time": 1_763_836_800_123,
        "data": {"percent": 30},
    }


async def test_repeated_push_is_delivered_once(backend: AblyBackend, listener: Listener) -> None:
    await backend.push([positioned_event(1)])
    await backend.push([positioned_event(1)])
    await backend.push([positioned_event(2, 2), positioned_event(3, 3)])
    await backend.push([positioned_event(2, 2), positioned_event(3, 3)])
    await backend.push([positioned_event(4, 4)])
    assert [(await listener.event())["data"] for _ in range(4)] == [1, 2, 3, 4]


async def test_batch_keeps_channel_order_in_few_requests(
    ably: LocalAbly, backend: AblyBackend, listener: Listener
) -> None:
    await listener.subscribe("job.8")
    events = [
        positioned_event(n, n, channel) for n in range(1, 201) for channel in ("job.7", "job.8")
    ]
    before = ably.calls
    await backend.push(events)
    assert ably.calls - before == 2
    received = [await listener.event() for _ in events]
    for channel in ("job.7", "job.8"):
        assert [event["data"] for event in received if event["channel"] == channel] == [
            *range(1, 201)
        ]


async def test_event_over_the_limit_is_pushed_as_a_stub(
    backend: AblyBackend, listener: Listener
) -> None:
    room = 65_536 - len("realtime") - len(encode_event(positioned_event("")))
    await backend.push([positioned_event("ä" * ((room - 1) // 2) + "x" * (1 + (room - 1) % 2))])
    await backend.push([positioned_event("x" * (room + 1), 2)])
    assert len((await listener.event())["data"]) > 30_000
    assert await listener.event() == {
        "type": "stub",
        "channel": "job.7",
        "epoch": EPOCH,
        "offset": 2,
        "id": "job.7-2",
    }


async def test_too_large_event_without_log_fails_with_a_hint(
    backend: AblyBackend,
) -> None:
    event = Event(channel="job.7", event="job.step", data="x" * 70_000)
    with pytest.raises(PublishError, match=r"70,107 .* Ably accepts 65,528.*set REALTIME_LOG"):
        await backend.push([event])


events = st.lists(
    st.builds(
        EncodedEvent,
        channel=st.sampled_from(["a", "b", "c"]),
        id=st.uuids().map(str),
        frame=st.integers(1, 65_528).map(bytes),
    ),
    max_size=60,
)


@given(events=events)
def test_requests_keep_order_and_limits(events: list[EncodedEvent]) -> None:
    requests = list(split_into_requests(events, overhead=8))
    for channel in "abc":
        sent = [
            message
            for request in requests
            for publication in request
            if publication.channel == channel
            for message in publication.messages
        ]
        assert sent == [event for event in events if event.channel == channel]
    for request in requests:
        assert len({publication.channel for publication in request}) == len(request)
        for publication in request:
            assert publication.size + 8 * len(publication.messages) <= 65_536
            assert 0 < len(publication.messages) <= MAX_PUBLICATION_MESSAGES
            assert len(set(publication.ids)) == len(publication.messages)


async def test_partly_rejected_batch_fails(ably: LocalAbly, backend: AblyBackend) -> None:
    ably.keys.capability = {"app:job.7": ["publish"]}
    with pytest.raises(BackendAuthError, match="give the key `publish`"):
        await backend.push([positioned_event(1), positioned_event(1, 1, "job.8")])


async def test_rejected_batch_fails(ably: LocalAbly, backend: AblyBackend) -> None:
    ably.faults.status = 429
    with pytest.raises(RateLimitedError):
        await backend.push([positioned_event(1), positioned_event(1, 1, "job.8")])


async def test_lost_answer_neither_loses_nor_repeats_events(
    ably: LocalAbly, listener: Listener
) -> None:
    async with FaultyProxy(ably.port) as proxy:
        port = int(proxy.url.rpartition(":")[2])
        async with create_backend(ably, port=port) as backend:
            await backend.push([positioned_event(1)])
            proxy.drop(after=0)
            await backend.push([positioned_event(2, 2)])
            await backend.push([positioned_event(3, 3)])
        assert proxy.dropped == 1
    assert [(await listener.event())["offset"] for _ in range(3)] == [1, 2, 3]


async def test_expired_token_fails_with_a_hint_on_the_clock(ably: LocalAbly) -> None:
    async with create_backend(ably, timing=AblyTiming(token_seconds=-1)) as backend:
        with pytest.raises(BackendAuthError, match="clock"):
            await backend.push([positioned_event(1)])


async def test_expired_token_is_replaced(ably: LocalAbly) -> None:
    timing = AblyTiming(token_seconds=1)
    async with (
        create_backend(ably, timing=timing) as single,
        create_backend(ably, timing=timing) as batch,
    ):
        for backend in (single, batch):
            await backend.push([positioned_event(1)])
        # A JWT has its expiry in whole seconds, so no shorter token is possible.
        expiry = int(time.time()) + timing.token_seconds
        await until(lambda: time.time() >= expiry)
        await single.push([positioned_event(2, 2)])
        await batch.push([positioned_event(3, 3), positioned_event(1, 1, "job.8")])
    assert ably.channels.get("app:job.7").count == 3
    assert ably.channels.get("app:job.8").count == 1


@pytest.mark.parametrize("channels", [["job.7"], ["job.7", "job.8"]])
async def test_refusal_in_a_body_with_status_200_is_an_error(
    ably: LocalAbly, backend: AblyBackend, channels: list[str]
) -> None:
    ably.faults.error_in_body = True
    for status, error in ((401, BackendAuthError), (429, RateLimitedError)):
        ably.faults.status = status
        with pytest.raises(error):
            await backend.push([positioned_event(1, 1, channel) for channel in channels])
        (result,) = await backend.check()
        assert result.status == "failed"


async def test_page_of_a_proxy_fails_over(ably: LocalAbly) -> None:
    ably.faults.html = True
    targets = [FailoverTarget("ably", create_backend(ably)), FailoverTarget("own", None)]
    async with MemoryBackend() as log, Failover(targets, log) as failover:
        for offset in range(1, 5):
            with pytest.raises(BackendUnavailableError, match="REALTIME_ABLY_ENDPOINT is an Ably"):
                await failover.push([positioned_event(offset, offset)])
        await failover.push([positioned_event(5, 5)])
        assert failover.active.name == "own"
        (result, *_) = await failover.check()
    assert result.status == "failed"


async def test_refused_channel_costs_the_others_nothing(
    ably: LocalAbly, backend: AblyBackend
) -> None:
    ably.faults.max_name = 100
    events = [positioned_event(n, n, f"job.{n}") for n in range(1, 120)]
    with pytest.raises(PublishError, match="Invalid channel name"):
        await backend.push([positioned_event(1, 1, "x" * 100), *events])
    assert {ably.channels.get(f"app:job.{n}").count for n in range(1, 120)} == {1}


@pytest.mark.parametrize("variable", ["ENDPOINT", "CLIENT_ENDPOINT"])
@pytest.mark.parametrize("host", ["127.0.0.1:6001", "https://ably", "a b", "::1"])
def test_endpoint_with_anything_else_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, ably: LocalAbly, variable: str, host: str
) -> None:
    monkeypatch.setenv("REALTIME_ABLY_KEY", "app.key:secret")
    monkeypatch.setenv(f"REALTIME_ABLY_{variable}", host)
    with pytest.raises(ConfigurationError, match=f"REALTIME_ABLY_{variable}: write the host al"):
        AblyBackend.from_settings(Settings())
    with pytest.raises(ConfigurationError, match=f"_{variable}=.* write the host alone"):
        create_backend(ably, **{variable.lower(): host})


def test_clients_may_reach_the_server_at_another_address(ably: LocalAbly) -> None:
    outside = {"client_endpoint": "push.example.com", "client_port": 8443, "client_tls": True}
    options = create_backend(ably, **outside).options
    assert [options[name] for name in ("endpoint", "port", "tls")] == [*outside.values()]
    assert create_backend(ably, client_endpoint="push.example.com").options["port"] is None


async def test_secret_of_the_key_is_never_sent(
    ably: LocalAbly, backend: AblyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(type(ably.keys), "by_key")
    await backend.push([positioned_event(1)])
    (result,) = await backend.check()
    assert result.status == "ok"


def test_backend_works_in_several_event_loops() -> None:
    async def push_in(backend: AblyBackend) -> None:
        async with backend:
            await backend.push([positioned_event(1)])

    async def serve(check: Callable[[int], None]) -> None:
        async with LocalAbly() as ably:
            await asyncio.to_thread(check, ably.port)
            assert ably.calls == 2

    def check(port: int) -> None:
        ably = LocalAbly()
        ably.port = port
        backend = create_backend(ably)
        for _ in range(2):
            asyncio.run(push_in(backend))

    asyncio.run(serve(check))


def rest_clients() -> list[AblyRest]:
    gc.collect()
    return [item for item in gc.get_objects() if type(item) is AblyRest]


async def test_first_push_creates_the_client(backend: AblyBackend) -> None:
    assert rest_clients() == []
    await backend.push([positioned_event(1)])
    clients = rest_clients()
    await backend.push([positioned_event(2, 2)])
    assert rest_clients() == clients
    (client,) = clients
    assert len(list(client.channels)) == 0


ERROR_RESPONSES: list[tuple[int, int, type[PublishError], str]] = [
    (40009, 400, EventTooLargeError, "Raise the limit of the account"),
    (40101, 401, BackendAuthError, "REALTIME_ABLY_KEY.*clock"),
    (40104, 401, BackendAuthError, "this machine's clock"),
    (40110, 401, BackendAuthError, "enable the account"),
    (40112, 401, RateLimitedError, "larger plan"),
    (40142, 401, BackendAuthError, "clock"),
    (40160, 401, BackendAuthError, "give the key `publish`"),
    (40300, 403, BackendAuthError, "enable the account or app"),
    (40400, 404, BackendAuthError, "no such app"),
    (42910, 429, RateLimitedError, "publish less often"),
    (50000, 500, BackendUnavailableError, r"status\.ably\.com"),
    (0, 503, BackendUnavailableError, r"status\.ably\.com"),
    (30200, 302, PublishError, "check that REALTIME_ABLY_ENDPOINT is an Ably"),
    (40000, 400, PublishError, "check that REALTIME_ABLY_ENDPOINT is an Ably"),
]


@pytest.mark.parametrize(("code", "status", "error", "hint"), ERROR_RESPONSES)
def test_error_response_has_its_class_and_hint(
    code: int, status: int, error: type[PublishError], hint: str
) -> None:
    publish_error = error_from_response(code, status, "the reason")
    assert type(publish_error) is error
    assert str(publish_error).startswith(f"Ably answered {status}, code {code} (the reason): ")
    with pytest.raises(PublishError, match=hint):
        raise publish_error
    retryable = (RateLimitedError, EventTooLargeError, BackendUnavailableError)
    assert publish_error.retryable is (error in retryable)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, BackendAuthError),
        (403, BackendAuthError),
        (413, PublishError),
        (429, RateLimitedError),
        (500, BackendUnavailableError),
    ],
)
async def test_rejected_push_raises_its_error(
    ably: LocalAbly, backend: AblyBackend, status: int, error: type[PublishError]
) -> None:
    ably.faults.status = status
    with pytest.raises(error):
        await backend.push([positioned_event(1)])


@pytest.mark.parametrize(
    ("changes", "error", "hint"),
    [
        ({"key": "local.key:wrong" + "0" * 32}, BackendAuthError, "REALTIME_ABLY_KEY"),
        ({"key": "other.key:x" + "0" * 32}, BackendAuthError, "REALTIME_ABLY_KEY"),
        ({"endpoint": "no-such-host.invalid"}, BackendUnavailableError, "REALTIME_ABLY_ENDPOINT"),
        ({"port": 1}, BackendUnavailableError, "check REALTIME_ABLY_ENDPOINT"),
    ],
)
async def test_wrong_configuration_is_named(
    ably: LocalAbly, changes: dict[str, Any], error: type[PublishError], hint: str
) -> None:
    async with create_backend(ably, **changes) as backend:
        with pytest.raises(error, match=hint):
            await backend.push([positioned_event(1)])
        (result,) = await backend.check()
    assert result.status == "failed"


async def test_server_other_than_ably_is_named() -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(status=404, text="<html>nothing here</html>", content_type="text/html")

    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", page)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    ably = LocalAbly()
    ably.port = runner.addresses[0][1]
    async with create_backend(ably) as backend:
        with pytest.raises(PublishError, match="_ENDPOINT"):
            await backend.push([positioned_event(1)])
    await runner.cleanup()


async def test_slow_provider_times_out(ably: LocalAbly) -> None:
    ably.faults.seconds = 5
    async with create_backend(ably, timing=AblyTiming(call_seconds=0.1)) as backend:
        with pytest.raises(BackendUnavailableError, match="no answer in time"):
            await backend.push([positioned_event(1)])


async def test_errors_hold_no_key_and_no_token(ably: LocalAbly, backend: AblyBackend) -> None:
    secret = ably.key.partition(":")[2]
    token = Signer(ably.key).create_jwt({"app:*": ["publish"]}, seconds=60)
    for message in (f"bad key {ably.key}", f"bad secret {secret}", f"bad token {token}"):
        ably.faults.status, ably.faults.message = 400, message
        for events in (
            [positioned_event(2, 2)],
            [positioned_event(2, 2), positioned_event(1, 1, "job.8")],
        ):
            with pytest.raises(PublishError, match="bad") as caught:
                await backend.push(events)
            assert_redacted("".join(traceback.format_exception(caught.value)), secret)
        (result,) = await backend.check()
        assert_redacted(result.detail, secret)


async def test_logs_hold_no_key_and_no_token(
    ably: LocalAbly, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for changes in ({}, {"port": 1}, {"endpoint": "no-such-host.invalid"}):
        async with create_backend(ably, **changes) as backend:
            with suppress(BackendUnavailableError):
                await backend.push([positioned_event(1)])
            await backend.check()
    assert "Token: …" in caplog.text
    assert_redacted(caplog.text, ably.key.partition(":")[2])


def assert_redacted(text: str, secret: str) -> None:
    assert secret not in text
    assert "eyJ" not in text


Break = Callable[[LocalAbly], dict[str, Any]]
"""Function that breaks a local Ably, or returns wrong options for the backend."""


def disabled(ably: LocalAbly) -> dict[str, Any]:
    ably.keys.state = "disabled"
    return {}


def over_quota(ably: LocalAbly) -> dict[str, Any]:
    ably.keys.state = "over its quota"
    return {}


def responding(status: int) -> Break:
    def break_provider(ably: LocalAbly) -> dict[str, Any]:
        ably.faults.status = status
        return {}

    return break_provider


def configured(**changes: Any) -> Break:
    return lambda _: changes


FAILURES: dict[str, tuple[Break, str]] = {
    "bad key": (configured(key="local.key:wrong" + "0" * 32), "REALTIME_ABLY_KEY"),
    "another app's key": (configured(key="x.y:" + "0" * 40), "REALTIME_ABLY_KEY"),
    "wrong endpoint": (configured(port=1), "check REALTIME_ABLY_ENDPOINT"),
    "no such host": (configured(endpoint="no-such-host.invalid"), "no such host"),
    "disabled": (disabled, "enable the account"),
    "over its quota": (over_quota, "larger plan"),
    "rate limited": (responding(429), "publish less often"),
    "too large": (responding(413), "Raise the limit of the account"),
    "down": (responding(500), "status.ably.com"),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_failed_push_with_log_is_a_warning_with_a_hint(
    ably: LocalAbly, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    break_provider, hint = FAILURES[name]
    backend = create_backend(ably, **break_provider(ably))
    log = MemoryBackend()
    async with Broadcaster(log=log, backend=backend) as broadcaster:
        receipt = await broadcaster.publish("job.7", "job.step", 1)
    assert not receipt.pushed
    assert receipt.position is not None
    assert hint in caplog.text
    page = await log.read("job.7", Position(receipt.position.epoch, 0))
    assert isinstance(page, Page)
    assert [event.data for event in page.events] == [1]


async def test_push_resumes_when_the_provider_is_back(ably: LocalAbly, listener: Listener) -> None:
    async with Broadcaster(log=MemoryBackend(), backend=create_backend(ably)) as broadcaster:
        ably.faults.status = 500
        assert not (await broadcaster.publish("job.7", "job.step", 1)).pushed
        ably.faults.heal()
        assert (await broadcaster.publish("job.7", "job.step", 2)).pushed
    assert (await listener.event())["offset"] == 2


async def test_failed_push_without_log_raises(ably: LocalAbly) -> None:
    ably.faults.status = 401
    async with Broadcaster(backend=create_backend(ably)) as broadcaster:
        with pytest.raises(BackendAuthError):
            await broadcaster.publish("job.7", "job.step", 1)


async def test_blocking_broadcaster_publishes(ably: LocalAbly, listener: Listener) -> None:
    def publish() -> None:
        with BlockingBroadcaster(lambda: Broadcaster(backend=create_backend(ably))) as broadcaster:
            broadcaster.publish("job.7", "job.step", "from a thread")

    await asyncio.to_thread(publish)
    assert (await listener.event())["data"] == "from a thread"


async def test_jwt_covers_the_granted_channels_alone(ably: LocalAbly, backend: AblyBackend) -> None:
    fields = {"channels": "app:job.7 app:job.8 other:job.7 app:a/b"}
    answer = await backend.authorize(fields, auth_request(allowed=lambda name: name == "job.7"))
    assert answer is not None
    name, _, secret = ably.key.partition(":")
    claims = jwt.decode(answer["token"], secret, ["HS256"])
    assert jwt.get_unverified_header(answer["token"])["kid"] == name
    assert json.loads(claims["x-ably-capability"]) == {"app:job.7": ["subscribe"]}
    assert claims["x-ably-clientId"] == answer["clientId"] == "42"
    assert claims["exp"] - claims["iat"] == 600
    assert answer["expires"] - answer["issued"] == 600_000
    json.dumps(answer)


async def test_token_request_covers_granted_channels_alone(
    ably: LocalAbly, backend: AblyBackend
) -> None:
    fields = {"channels": "app:job.7 app:job.8", "format": "request"}
    answer = await backend.authorize(fields, auth_request(allowed=lambda name: name == "job.7"))
    assert answer is not None
    json.dumps(answer)

    async def callback(_: Any) -> Any:
        return dict(answer)

    place = {"endpoint": "127.0.0.1", "port": ably.port, "tls": False}
    async with AblyRest(auth_callback=callback, **place) as client:
        details = await client.auth.authorize()
    assert str(details.capability) == '{"app:job.7": ["subscribe"]}'
    assert details.client_id == "42"


async def test_user_named_like_the_wildcard_gets_no_client_id(backend: AblyBackend) -> None:
    for form in ("jwt", "request"):
        fields = {"channels": "app:job.7", "format": form}
        answer = await backend.authorize(fields, auth_request("*"))
        assert answer is not None
        assert "clientId" not in answer


@pytest.mark.parametrize("count", [1, 40, 84, 200])
async def test_token_fits_into_a_url(ably: LocalAbly, backend: AblyBackend, count: int) -> None:
    names = [f"app:job.{uuid.uuid4()}" for _ in range(count)]
    answer = await backend.authorize({"channels": " ".join(names)}, auth_request())
    assert answer
    assert set(json.loads(answer["capability"])) == set(names)
    assert len(answer.get("token", "")) <= 6_144
    assert ("mac" in answer) is (count > 40)


async def test_rule_that_fails_costs_the_other_channels_nothing(backend: AblyBackend) -> None:
    async def allow(channel: str) -> bool:
        if channel == "job.8":
            raise ValueError(channel)
        return channel == "job.7"

    request = AuthorizationRequest(user="42", client="c_1", seconds=600, allow=allow)
    names = {"channels": "app:job.7 app:job.8 app:job.9"}
    answer = await backend.authorize(names, request)
    assert answer
    assert json.loads(answer["capability"]) == {"app:job.7": ["subscribe"]}
    assert answer["failed"] == ["app:job.8"]
    with pytest.raises(ValueError, match=r"job\.8"):
        await backend.authorize({"channels": "app:job.8 app:job.9"}, request)


async def test_slow_rules_of_many_channels_are_asked_together(backend: AblyBackend) -> None:
    together = asyncio.Barrier(10)

    async def allow(_: str) -> bool:
        await together.wait()
        return True

    request = AuthorizationRequest(user="42", client="c_1", seconds=600, allow=allow)
    names = " ".join(f"app:job.{n}" for n in range(10))
    async with asyncio.timeout(10):
        assert await backend.authorize({"channels": names}, request)


async def test_user_without_channels_gets_no_token(backend: AblyBackend) -> None:
    fields = {"channels": "app:job.7 other:job.7 app:* * app:"}
    assert await backend.authorize(fields, auth_request(allowed=lambda _: False)) is None


@pytest.mark.parametrize("channels", ["", "  ", " ".join(f"app:job.{n}" for n in range(201))])
async def test_number_of_requested_channels_is_limited(backend: AblyBackend, channels: str) -> None:
    with pytest.raises(AuthRequestError, match="channels"):
        await backend.authorize({"channels": channels}, auth_request())


@given(
    channel=st.from_regex(rf"[{ALPHABET}]{{1,128}}", fullmatch=True).filter(
        lambda name: not name.startswith(("private-", "presence-"))
    ),
    prefix=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
)
def test_channel_names_at_ably_are_reversible(channel: str, prefix: str) -> None:
    names = ProviderNames(f"{prefix}:")
    name = names.encode(channel)
    assert names.decode(name) == channel
    assert name.count(":") == 1
    assert "*" not in name


@pytest.mark.parametrize("name", ["REALTIME_ABLY_KEY", "ABLY_API_KEY"])
def test_settings_accept_our_names_and_the_vendors(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "app.key:secret")
    backend = AblyBackend.from_settings(Settings())
    assert str(backend) == "Ably (main.realtime.ably.net)"
    assert backend.options == {
        "endpoint": "main",
        "port": None,
        "tls": True,
        "channel_prefix": "realtime:",
    }


def test_malformed_key_is_named_and_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_ABLY_KEY", "hush")
    with pytest.raises(
        ConfigurationError, match=r"REALTIME_ABLY_KEY.*APPID\.KEYID:SECRET"
    ) as caught:
        AblyBackend.from_settings(Settings())
    assert "hush" not in str(caught.value)


async def test_check_reports_the_capability_of_the_key(
    ably: LocalAbly, backend: AblyBackend
) -> None:
    (result,) = await backend.check()
    assert (result.check, result.status) == ("ably", "ok")
    ably.keys.capability = {"app:*": ["subscribe"]}
    (result,) = await backend.check()
    assert result.status == "failed"
    assert "does not allow publish" in result.detail
    assert result.hint is not None
    ably.keys.capability = {"app:job.7": ["publish"]}
    (result,) = await backend.check()
    assert result.status == "failed"


@pytest.mark.parametrize("revoked", [("42", None), (None, "job.7"), ("42", "job.7")])
async def test_revoked_tokens_end_their_connections(
    ably: LocalAbly,
    backend: AblyBackend,
    listener: Listener,
    revoked: tuple[str | None, str | None],
) -> None:
    ably.keys.is_revocable = True
    assert listener.client.connection.state == "connected"
    assert await backend.revoke(*revoked) == []
    await ably.until(lambda: ably.connections == 0)


async def test_key_without_revocable_tokens_is_in_the_answer(
    ably: LocalAbly, backend: AblyBackend, listener: Listener
) -> None:
    (sentence,) = await backend.revoke("42", None)
    assert "valid for up to 10 minutes" in sentence
    assert "Enable revocable tokens" in sentence
    assert ably.key.partition(":")[2] not in sentence
    assert ably.connections == 1
    (sentence,) = await backend.revoke("*", None)
    assert "no client id" in sentence


async def test_revocation_that_cannot_reach_ably_is_an_error(backend: AblyBackend) -> None:
    async with create_backend_at(1) as elsewhere:
        with pytest.raises(BackendUnavailableError):
            await elsewhere.revoke("42", None)


def create_backend_at(port: int) -> AblyBackend:
    return AblyBackend("app.key:secret", endpoint="127.0.0.1", port=port, tls=False)
