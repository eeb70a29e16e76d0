"""Mirror: a copy of each event for another provider, and the report of the differences."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge import (
    BackendUnavailableError,
    Broadcaster,
    ConfigurationError,
    Event,
    PublishError,
)
from realtime_bridge.backend.push import Backend, PushLimits
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.protocol.publishing.mirror_counts import MirrorCounts, total
from realtime_bridge.publishing.mirror import Mirror, MirrorTiming, read_reports
from realtime_bridge.publishing.pipeline import server_pipeline, worker_pipeline
from realtime_bridge.settings import Settings
from realtime_bridge.testing.providers import LocalPusher
from realtime_bridge_backends.memory import MemoryBackend
from tests.cli.processes import run

FAST = MirrorTiming(push_seconds=0.1, report_seconds=0.02, close_seconds=5)


class Provider(Backend):
    """Provider that records what it accepts, and fails as a test plans it."""

    limits = PushLimits(event_bytes=1_000_000, events=500, channels=500)

    def __init__(self) -> None:
        self.accepted: list[Event] = []
        self.failures: list[BaseException] = []
        self.works = asyncio.Event()
        self.works.set()

    async def push(self, events: Sequence[Event]) -> None:
        await self.works.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.accepted += events

    @property
    def data(self) -> list[Any]:
        return [event.data for event in self.accepted]


@pytest.fixture
async def log() -> AsyncIterator[MemoryBackend]:
    async with MemoryBackend() as memory:
        yield memory


async def publish(broadcaster: Broadcaster, numbers: Iterable[int]) -> None:
    for number in numbers:
        await broadcaster.publish("job.7", "counted", number, id=f"n{number}")


async def test_provider_gets_each_event_once_in_order(log: MemoryBackend) -> None:
    provider = Provider()
    mirror = Mirror("pusher", provider, log, timing=FAST)
    async with Broadcaster(log=log, mirror=mirror) as broadcaster:
        await publish(broadcaster, range(300))
        await publish(broadcaster, range(10))  # repeated ids: the log has them already
    assert provider.data == list(range(300))
    assert provider.accepted[0].position == (await first_receipt(log)).position
    (counts,) = await read_reports(log)
    assert (counts.published, counts.mirrored, counts.failed, counts.dropped) == (300, 300, 0, 0)
    assert sum(counts.delays) == 300


async def first_receipt(log: MemoryBackend) -> Any:
    (receipt,) = await log.append([Event(channel="job.7", event="counted", data=0, id="n0")])
    return receipt


@pytest.mark.parametrize("failure", [BackendUnavailableError("down"), ValueError("a fault")])
async def test_failure_of_the_provider_fails_no_publish_and_is_reported(
    log: MemoryBackend, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Provider()
    provider.failures = [failure]
    mirror = Mirror("pusher", provider, log, timing=FAST)
    with caplog.at_level(logging.WARNING, "realtime_bridge.publishing"):
        async with Broadcaster(log=log, mirror=mirror) as broadcaster:
            await publish(broadcaster, [0])
            await until(lambda: mirror.counts.failed)
            await publish(broadcaster, [1, 2])
    assert provider.data == [1, 2]
    (counts,) = await read_reports(log)
    assert (counts.published, counts.mirrored, counts.failed) == (3, 2, 1)
    (missing,) = counts.missing
    assert (missing.channel, missing.event, missing.id) == ("job.7", "counted", "n0")
    assert str(failure) in missing.reason
    assert len([line for line in caplog.messages if line.startswith("mirror failed")]) == 1


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- no event reports it
            await asyncio.sleep(0.002)


async def test_silent_provider_delays_no_publish_and_overflow_is_counted(
    log: MemoryBackend, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Provider()
    provider.works.clear()
    timing = MirrorTiming(push_seconds=60, close_seconds=0.05)
    mirror = Mirror("pusher", provider, log, capacity=5, timing=timing)
    with caplog.at_level(logging.WARNING, "realtime_bridge.publishing"):
        async with Broadcaster(log=log, mirror=mirror) as broadcaster:
            async with asyncio.timeout(5):
                await publish(broadcaster, range(20))
            assert mirror.counts.waiting == 5
    (counts,) = await read_reports(log)
    assert (counts.published, counts.mirrored, counts.waiting) == (20, 0, 0)
    assert {one.reason for one in counts.missing} == {"the queue was full", "the publisher ended"}
    assert (counts.failed, counts.dropped) == (0, 20)
    (line,) = caplog.messages
    assert line.startswith("mirror drops")


async def test_large_events_that_wait_are_bounded_by_their_bytes() -> None:
    provider = Provider()
    provider.works.clear()
    mirror = Mirror("pusher", provider, None, timing=MirrorTiming(close_seconds=0.05))
    event = Event(channel="job.7", event="large", data="x" * 1_000_000)
    receipt = Receipt(id=event.id, position=Position("00000000", 1))
    mirror.put([event] * 40, [receipt] * 40)
    assert (mirror.counts.waiting, mirror.counts.dropped) == (33, 7)
    await mirror.close()
    assert (mirror.counts.waiting, mirror.counts.dropped) == (0, 40)


async def test_push_that_takes_too_long_is_a_failure(log: MemoryBackend) -> None:
    provider = Provider()
    provider.works.clear()
    mirror = Mirror("pusher", provider, log, timing=FAST)
    async with Broadcaster(log=log, mirror=mirror) as broadcaster:
        await publish(broadcaster, [0])
        await until(lambda: mirror.counts.failed)
    (counts,) = await read_reports(log)
    assert "did not answer within 0.1 s" in counts.missing[0].reason


async def test_failed_publish_is_not_mirrored(log: MemoryBackend) -> None:
    class Down(MemoryBackend):
        async def append(self, events: Sequence[Event]) -> Any:
            raise PublishError("the log is down", retryable=False)

    provider = Provider()
    mirror = Mirror("pusher", provider, None, timing=FAST)
    async with Broadcaster(log=Down(), mirror=mirror) as broadcaster:
        with pytest.raises(PublishError):
            await publish(broadcaster, [0])
    assert mirror.counts.published == 0
    assert not provider.accepted


def test_totals_add_publishers_of_one_backend() -> None:
    first, second = MirrorCounts("pusher", 20.0), MirrorCounts("pusher", 10.0)
    first.published = second.published = 2
    first.accept([0.001, 0.02])
    second.accept([0.3])
    sums = total([first, second, MirrorCounts("ably", 1.0)])
    assert sorted(sums) == ["ably", "pusher"]
    pusher = sums["pusher"]
    assert (pusher.started, pusher.published, pusher.mirrored, pusher.waiting) == (10.0, 4, 3, 1)
    assert [pusher.delay(share) for share in (0.3, 0.5, 1.0)] == [5, 25, 500]
    assert sums["ably"].delay(0.5) is None
    second.accept([60.0])
    assert second.delay(1.0) is None


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"mirror": "memory"}, "REALTIME_MIRROR=memory pushes no events"),
        ({"mirror": "null"}, "REALTIME_MIRROR=null pushes no events"),
        ({"mirror": "null", "backend": "null"}, "REALTIME_MIRROR=null delivers already"),
    ],
)
def test_mirror_that_cannot_work_is_an_error(settings: dict[str, str], error: str) -> None:
    with pytest.raises(ConfigurationError, match=error):
        server_pipeline(Settings(**{"log": "memory", **settings}))  # type: ignore[arg-type]


async def test_report_shows_planted_differences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker publishes to SQLite, with a mirror at Pusher's protocol that refuses two calls."""
    async with LocalPusher() as pusher:
        variables = {
            "REALTIME_LOG": "sqlite",
            "REALTIME_BACKEND": "websocket",
            "REALTIME_SQLITE_PATH": str(tmp_path / "log.db"),
            "REALTIME_MIRROR": "pusher",
            **{name: text for name, text in pusher.environment.items() if "PUSHER" in name},
        }
        for name, text in variables.items():
            monkeypatch.setenv(name, text)
        parts = worker_pipeline(Settings.load())
        mirror = parts.mirror
        assert mirror
        async with Broadcaster(log=parts.log, mirror=mirror) as broadcaster:
            await publish(broadcaster, range(10))
            await until(lambda: mirror.counts.mirrored == 10)
            pusher.faults.status = 403
            await publish(broadcaster, [10, 11])
        report = partial(run, "mirror", "report", folder=tmp_path, variables=variables)
        result = await asyncio.to_thread(report)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["published", "12"] in lines
    assert ["mirrored", "10"] in lines
    assert ["failed", "2"] in lines
    missing = [line for line in result.stdout.splitlines() if "missing" in line]
    assert [line.partition(", id ")[2].partition(":")[0] for line in missing] == ["n10", "n11"]
