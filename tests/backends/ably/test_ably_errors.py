"""Tests of failed pushes to Ably: each error has a hint, and no secret."""

import logging
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web

from realtime_bridge import (
    BackendAuthError,
    BackendUnavailableError,
    Broadcaster,
    Position,
    PublishError,
    RateLimitedError,
)
from realtime_bridge.model.page import Page
from realtime_bridge.publishing.failover import Failover, FailoverTarget
from realtime_bridge.testing.providers import LocalAbly
from realtime_bridge_backends.ably import AblyBackend, AblyTiming
from realtime_bridge_backends.ably.errors import EventTooLargeError, error_from_response
from realtime_bridge_backends.ably.tokens import Signer
from realtime_bridge_backends.memory import MemoryBackend
from tests.backends.ably.ably_backends import Listener, create_backend, positioned_event
from tests.server.harness import until


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
