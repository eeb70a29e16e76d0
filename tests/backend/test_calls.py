"""Calls of a backend: every error becomes one of ours."""

import asyncio
from collections.abc import Awaitable

import pytest

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.errors import BackendUnavailableError, InvalidEventError, PublishError
from realtime_bridge_backends.memory import MemoryBackend


async def fail(error: BaseException) -> None:
    raise error


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
async def test_foreign_error_becomes_unavailable_with_its_cause(error: Exception) -> None:
    expected = pytest.raises(BackendUnavailableError, match=type(error).__name__)
    with expected as caught:
        await backend_call(MemoryBackend(), fail, error)
    assert caught.value.retryable
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [PublishError("full"), InvalidEventError("bad name"), asyncio.CancelledError()]
)
async def test_our_error_and_a_cancellation_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        await backend_call(MemoryBackend(), fail, error)
    assert caught.value is error


async def test_error_before_the_first_await_becomes_unavailable() -> None:
    def read(_: str) -> Awaitable[None]:
        raise TypeError("a method without `async`")

    with pytest.raises(BackendUnavailableError, match="without `async`"):
        await backend_call(MemoryBackend(), read, "job.1")


async def test_call_passes_its_arguments_and_returns_the_result() -> None:
    async def latest(channel: str, *, after: int) -> str:
        return f"{channel} {after}"

    assert await backend_call(MemoryBackend(), latest, "job.1", after=7) == "job.1 7"


async def test_mistake_of_a_backend_is_logged_once_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = MemoryBackend()
    for error in (TypeError("one"), TypeError("two"), OSError("the network is down")):
        with pytest.raises(BackendUnavailableError):
            await backend_call(backend, fail, error)
    (record,) = caplog.records
    assert record.exc_info
    assert "unexpected error" in record.getMessage()
