"""Listener that reconnects: whatever ends its connection is a lost one."""

import asyncio
from collections.abc import Iterable

import pytest

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.backend.reconnecting import ReconnectingListener
from realtime_bridge.backend.supervisor import SupervisorTiming
from realtime_bridge.errors import BackendUnavailableError, PublishError

TIMEOUT = 10.0
TIMING = SupervisorTiming(restart=0.002, longest=0.01, settled=0.02)


class FakeListener(ReconnectingListener):
    """Listener whose connection ends as the test decides; None stays."""

    def __init__(self, *ends: BaseException | None, connects: bool = True) -> None:
        super().__init__(TIMING)
        self._ends = list(ends)
        self._connects = connects

    async def subscribe(self, channels: Iterable[str]) -> None: ...

    async def unsubscribe(self, channels: Iterable[str]) -> None: ...

    async def _listen_until_lost(self) -> None:
        if self._connects:
            self._on_connected()
        await asyncio.sleep(0)
        if self._ends and (end := self._ends.pop(0)):
            raise end
        await asyncio.Event().wait()

    def _to_publish_error(self, error: Exception) -> PublishError:
        return BackendUnavailableError(f"The server failed: {error}")


@pytest.mark.parametrize(
    "end",
    [ValueError("not JSON"), RuntimeError("closed"), asyncio.CancelledError(), OSError()],
    ids=lambda end: type(end).__name__,
)
async def test_lost_connection_is_reported_and_opened_again(
    end: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(TIMEOUT), FakeListener(end) as listener:
        stream = aiter(listener)
        assert await anext(stream) == FeedInterrupted(connected=False)
        assert await anext(stream) == FeedInterrupted()
        while "runs again work=feed failures=1" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert len(caplog.records) == 2


async def test_subscribing_waits_for_the_next_connection() -> None:
    class Unreachable(FakeListener):
        reachable = asyncio.Event()

        async def subscribe(self, channels: Iterable[str]) -> None:
            await self._connected.wait()

        async def _listen_until_lost(self) -> None:
            if self._first.done():
                await self.reachable.wait()
            await super()._listen_until_lost()

    async with asyncio.timeout(TIMEOUT), Unreachable(OSError()) as listener:
        assert await anext(aiter(listener)) == FeedInterrupted(connected=False)
        subscribing = asyncio.create_task(listener.subscribe(["job.7"]))
        await asyncio.sleep(0)
        assert not subscribing.done()
        listener.reachable.set()
        await subscribing


async def test_connection_that_returns_is_opened_again() -> None:
    class Returning(FakeListener):
        async def _listen_until_lost(self) -> None:
            self._on_connected()

    async with asyncio.timeout(TIMEOUT), Returning() as listener:
        assert await anext(aiter(listener)) == FeedInterrupted(connected=False)


@pytest.mark.parametrize("end", [ValueError("not JSON"), asyncio.CancelledError()])
async def test_failure_of_the_first_attempt_is_raised(
    end: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    before = asyncio.all_tasks()
    with pytest.raises(BackendUnavailableError):
        async with FakeListener(end, connects=False):
            pass
    assert asyncio.all_tasks() == before
    assert caplog.records == []
