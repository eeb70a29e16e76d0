"""Calls of a backend: every error becomes one of ours."""

import asyncio

import pytest

from realtime_bridge.backend.calls import CALLS_AT_ONCE, backend_call, call_for_each
from realtime_bridge.errors import BackendUnavailableError, InvalidEventError, PublishError
from realtime_bridge_backends.memory import MemoryBackend


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed"),
        ConnectionResetError("reset by peer"),
        asyncio.IncompleteReadError(b"", 8),
        EOFError(),
        TypeError("a mistake of the plug-in"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_foreign_error_becomes_unavailable_with_its_cause(error: Exception) -> None:
    expected = pytest.raises(BackendUnavailableError, match=type(error).__name__)
    with expected as caught, backend_call(MemoryBackend()):
        raise error
    assert caught.value.retryable
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [PublishError("full"), InvalidEventError("bad name"), asyncio.CancelledError()]
)
def test_our_error_and_a_cancellation_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, backend_call(MemoryBackend()):
        raise error
    assert caught.value is error


def test_mistake_of_a_backend_is_logged_once_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = MemoryBackend()
    for error in (TypeError("one"), TypeError("two"), OSError("the network is down")):
        with pytest.raises(BackendUnavailableError), backend_call(backend):
            raise error
    (record,) = caplog.records
    assert record.exc_info
    assert "unexpected error" in record.getMessage()


async def test_calls_for_channels_run_together_up_to_a_limit() -> None:
    running = most = 0

    async def call(channel: str, number: int) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return f"{channel} {number}"

    numbers = {f"job.{number}": number for number in range(3 * CALLS_AT_ONCE)}
    results = await call_for_each(numbers, call)
    assert results == {name: f"{name} {number}" for name, number in numbers.items()}
    assert most == CALLS_AT_ONCE


async def test_first_error_ends_the_calls_for_other_channels() -> None:
    ended: list[str] = []

    async def call(channel: str, error: Exception | None) -> None:
        if error:
            raise error
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(channel)

    error = PublishError("full")
    with pytest.raises(PublishError) as caught:
        await call_for_each({"job.1": None, "job.2": error}, call)
    assert caught.value is error
    assert ended == ["job.1"]
