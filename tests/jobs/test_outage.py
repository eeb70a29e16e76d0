"""Jobs while the log is down: short waits, one warning, and every end after its return."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from realtime_bridge import (
    BackendUnavailableError,
    BlockingBroadcaster,
    Broadcaster,
    Event,
    Receipt,
)
from realtime_bridge.publishing.timing import PublishTiming
from realtime_bridge_backends.memory import MemoryBackend

TIMEOUT = 20.0


class UnreliableLog(MemoryBackend):
    """Log that a test takes down: each append fails, or does not answer."""

    in_process = False

    def __init__(self, *, hangs: bool) -> None:
        super().__init__()
        self.is_down = True
        self.attempts = 0
        self.names: list[str] = []
        self.most_at_once = 0
        self._at_once = 0
        self._hangs = hangs

    def __str__(self) -> str:
        return "the test's log"

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        self.attempts += 1
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(0)
            if self.is_down and self._hangs:
                await asyncio.sleep(3_600)
            if self.is_down:
                raise BackendUnavailableError("away")
        finally:
            self._at_once -= 1
        receipts = await super().append(events)
        self.names += [
            event.event
            for event, receipt in zip(events, receipts, strict=True)
            if not receipt.refused
        ]
        return receipts


@pytest.fixture(params=[False, True], ids=["refuses", "hangs"])
def log(request: pytest.FixtureRequest) -> UnreliableLog:
    return UnreliableLog(hangs=request.param)


@pytest.fixture
def broadcaster(log: UnreliableLog) -> Iterator[BlockingBroadcaster]:
    timing = PublishTiming(call_seconds=0.3, close_seconds=10)
    with BlockingBroadcaster(lambda: Broadcaster(log=log, timing=timing)) as broadcaster:
        yield broadcaster
        log.is_down = False


@pytest.mark.timed
def test_twenty_reports_in_an_outage_cost_little(
    broadcaster: BlockingBroadcaster, log: UnreliableLog
) -> None:
    started = time.monotonic()
    broadcaster.job("user-42", id="first").report("queued")
    first = time.monotonic()
    for number in range(20):
        broadcaster.job("user-42", id=str(number)).report("queued")
    assert first - started < 1.5
    assert time.monotonic() - first < 1
    log.is_down = False
    broadcaster.close()
    assert log.names == ["job.queued"] * 21


def test_outage_logs_its_start_and_its_end_alone(
    broadcaster: BlockingBroadcaster, log: UnreliableLog, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        with broadcaster.job("user-42", id=str(number)) as job:
            job.progress(0.5)
    log.is_down = False
    broadcaster.close()
    assert log.names.count("job.completed") == 20
    lines = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert [line.split(" error=")[0].split(" failures=")[0] for line in lines] == [
        "job updates delayed",
        "job updates published again",
    ]


def test_outage_has_one_attempt_at_a_time(
    broadcaster: BlockingBroadcaster, log: UnreliableLog
) -> None:
    broadcaster.job("user-42").report("started")
    log.most_at_once = 0
    for _ in range(20):
        broadcaster.job("user-42").report("started")
    log.is_down = False
    broadcaster.close()
    assert log.most_at_once == 1


def test_close_publishes_the_end_when_the_log_returns(
    broadcaster: BlockingBroadcaster, log: UnreliableLog
) -> None:
    with broadcaster.job("user-42"):
        pass
    assert log.names == []
    returning = threading.Timer(0.5, setattr, [log, "is_down", False])
    returning.start()
    broadcaster.close()
    assert log.names == ["job.started", "job.completed"]


@pytest.mark.timed
def test_close_waits_for_a_missing_log_within_its_bound(
    log: UnreliableLog, caplog: pytest.LogCaptureFixture
) -> None:
    timing = PublishTiming(call_seconds=0.3, close_seconds=0.5)
    broadcaster = BlockingBroadcaster(lambda: Broadcaster(log=log, timing=timing))
    with broadcaster.job("user-42"):
        pass
    started = time.monotonic()
    broadcaster.close()
    assert time.monotonic() - started < 2
    assert "job updates lost jobs=1" in caplog.text


async def latest_state(log: UnreliableLog) -> str:
    *_, event = (await log.latest("user-42")).events
    state: str = event.data["state"]
    return state


@pytest.mark.parametrize("state", ["started", "completed"])
def test_late_queued_does_not_replace_a_later_state(
    broadcaster: BlockingBroadcaster, log: UnreliableLog, state: str
) -> None:
    broadcaster.job("user-42", id="a1").report("queued")
    # The worker's broadcaster reaches the log first.
    log.is_down = False
    with BlockingBroadcaster(lambda: Broadcaster(log=log)) as worker:
        worker.job("user-42", id="a1").report(state)
    broadcaster.close()
    assert log.names == [f"job.{state}"]
    assert asyncio.run(latest_state(log)) == {"started": "running"}.get(state, state)


def test_background_batch_is_published_after_the_outage(
    broadcaster: BlockingBroadcaster, log: UnreliableLog
) -> None:
    started = time.monotonic()
    for number in range(20):
        broadcaster.publish_in_background(
            [Event(channel="user-42", event=f"order.{number}", data=None)]
        )
    assert time.monotonic() - started < 2
    log.is_down = False
    broadcaster.close()
    assert log.names == [f"order.{number}" for number in range(20)]


def test_background_batch_that_is_refused_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    log = MemoryBackend()
    with BlockingBroadcaster(lambda: Broadcaster(log=log, limit_event_bytes=10)) as broadcaster:
        broadcaster.publish_in_background(
            [Event(channel="user-42", event="order.new", data="x" * 20)]
        )
    assert "events lost events=1" in caplog.text


async def test_async_job_waits_shortly_for_a_missing_log(log: UnreliableLog) -> None:
    timing = PublishTiming(call_seconds=0.3, close_seconds=10)
    async with Broadcaster(log=log, timing=timing) as broadcaster:
        async with asyncio.timeout(TIMEOUT):
            for _ in range(20):
                async with broadcaster.job("user-42"):
                    pass
        assert log.names == []
        log.is_down = False
    assert log.names.count("job.completed") == 20


async def test_async_job_reports_progress_from_a_thread() -> None:
    log = UnreliableLog(hangs=False)
    log.is_down = False
    async with Broadcaster(log=log) as broadcaster, broadcaster.job("user-42") as job:
        await asyncio.to_thread(job.progress, 0.5)
    assert log.names == ["job.started", "job.progress", "job.completed"]
