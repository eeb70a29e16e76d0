"""Event loop on a thread: it runs until it is stopped."""

import asyncio

import pytest

from realtime_bridge.backend.loop_thread import LoopThread

TIMEOUT = 10.0


async def answer() -> int:
    return 42


def test_loop_that_a_task_ended_runs_again(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise SystemExit(3)

    thread = LoopThread("test-loop")
    try:
        failing = asyncio.run_coroutine_threadsafe(fail(), thread.loop)
        with pytest.raises(SystemExit):
            failing.result(TIMEOUT)
        assert asyncio.run_coroutine_threadsafe(answer(), thread.loop).result(TIMEOUT) == 42
    finally:
        thread.stop()
    assert "event loop ended, restarting thread=test-loop" in caplog.text
