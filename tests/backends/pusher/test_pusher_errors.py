"""Tests of failed pushes to Pusher: each error has a hint, and no secret."""

import logging
import traceback
from typing import Any

import pytest

from realtime_bridge import (
    BackendAuthError,
    BackendUnavailableError,
    Broadcaster,
    PublishError,
    RateLimitedError,
)
from realtime_bridge.publishing.failover import Failover, FailoverTarget
from realtime_bridge.testing.providers import LocalPusher
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.pusher import PusherBackend, PusherTiming
from realtime_bridge_backends.pusher.errors import EventTooLargeError, read_answer
from tests.backends.pusher.pusher_backends import Listener, create_backend, positioned_event

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
