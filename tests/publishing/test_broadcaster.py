"""Publishing: the log decides success, retries keep the ids, failures have a hint."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any, Self

import pytest

from realtime_bridge import (
    BackendAuthError,
    BackendUnavailableError,
    Broadcaster,
    ConfigurationError,
    Event,
    InvalidEventError,
    PublishError,
    Receipt,
)
from realtime_bridge.backend.push import Backend, PushLimits
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.retention import Retention
from realtime_bridge.publishing.local_servers import register_local_server
from realtime_bridge.publishing.timing import PublishTiming
from realtime_bridge.settings import Settings
from realtime_bridge.testing.contracts.samples import numbered
from realtime_bridge_backends.memory import MemoryBackend
from tests.server.fakes import SlowLog


class FailingLog(MemoryBackend):
    """Log with given failures, before or after it stores the events."""

    in_process = False

    def __init__(self, *failures: Exception, after: bool = False) -> None:
        super().__init__()
        self.appended_ids: list[list[str]] = []
        self._failures = list(failures)
        self._after = after

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        self.appended_ids.append([event.id for event in events])
        failure = self._failures.pop(0) if self._failures else None
        if failure and not self._after:
            raise failure
        receipts = await super().append(events)
        if failure:
            raise failure
        return receipts


class SilentLog(MemoryBackend):
    """Log that never answers."""

    in_process = False

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        await asyncio.Event().wait()
        raise AssertionError


class RecordingBackend(Backend):
    """Backend that records its events, or fails."""

    limits = PushLimits(event_bytes=1024, events=10, channels=10)

    def __init__(self, failure: Exception | None = None, *, silent: bool = False) -> None:
        self.pushed: list[Event] = []
        self.open = False
        self._failure = failure
        self._silent = silent

    def __str__(self) -> str:
        return "the pusher at example.org"

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        if self._failure and not isinstance(self._failure, PublishError):
            raise self._failure
        self.open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.open = False

    async def push(self, events: Sequence[Event]) -> None:
        if self._silent:
            await asyncio.Event().wait()
        if self._failure:
            raise self._failure
        self.pushed += events


def no_delay(_: int) -> float:
    return 0.0


AT_ONCE = PublishTiming(retry_delay=no_delay)
IMPATIENT = PublishTiming(call_seconds=0.01, retry_delay=no_delay)


@pytest.fixture
async def log() -> AsyncIterator[MemoryBackend]:
    async with MemoryBackend() as backend:
        yield backend


async def events_of(log: MemoryBackend, channel: str = "job.7") -> list[Event]:
    top = (await log.positions([channel]))[channel]
    page = await log.read(channel, Position(top.epoch, 0))
    assert isinstance(page, Page)
    return list(page.events)


async def test_publish_returns_the_position_of_its_event(log: MemoryBackend) -> None:
    async with Broadcaster(log=log) as broadcaster:
        receipt = await broadcaster.publish(
            "job.7", "job.progress", {"percent": 30}, id="one", key="k", source="c_1"
        )
    (stored,) = await events_of(log)
    assert receipt == Receipt(id="one", position=stored.position)
    assert (stored.event, stored.data) == ("job.progress", {"percent": 30})
    assert (stored.id, stored.key, stored.source) == ("one", "k", "c_1")


async def test_event_may_have_no_data(log: MemoryBackend) -> None:
    async with Broadcaster(log=log) as broadcaster:
        await broadcaster.publish("job.7", "job.done")
    assert (await events_of(log))[0].data is None


async def test_batch_is_published_in_order_with_one_append() -> None:
    log = FailingLog()
    async with Broadcaster(log=log) as broadcaster:
        receipts = await broadcaster.publish_many(numbered("job.7", 500))
    assert [receipt.position and receipt.position.offset for receipt in receipts] == [
        *range(1, 501)
    ]
    assert len(log.appended_ids) == 1


async def test_empty_batch_is_no_error(log: MemoryBackend) -> None:
    pusher = RecordingBackend()
    async with Broadcaster(log=log, backend=pusher) as broadcaster:
        assert await broadcaster.publish_many([]) == []
    assert pusher.pushed == []


async def test_batch_over_500_is_refused_before_the_append(
    log: MemoryBackend,
) -> None:
    async with Broadcaster(log=log) as broadcaster:
        with pytest.raises(InvalidEventError, match=r"^A batch has over 500 events, its limit"):
            await broadcaster.publish_many(numbered("job.7", 501))
    assert await events_of(log) == []


async def test_invalid_event_is_refused_before_the_append() -> None:
    log = FailingLog()
    async with Broadcaster(log=log) as broadcaster:
        with pytest.raises(InvalidEventError):
            await broadcaster.publish("job 7", "job.progress", {})
    assert log.appended_ids == []


def test_broadcaster_without_log_and_backend_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Nothing delivers the events"):
        Broadcaster()


async def test_retry_has_the_same_ids() -> None:
    log = FailingLog(BackendUnavailableError("cut"), BackendUnavailableError("cut"))
    async with Broadcaster(log=log, timing=AT_ONCE) as broadcaster:
        receipt = await broadcaster.publish("job.7", "job.progress", {})
    assert log.appended_ids == [[receipt.id]] * 3
    assert not receipt.duplicate


async def test_lost_answer_of_an_append_gives_no_second_event() -> None:
    log = FailingLog(BackendUnavailableError("cut"), after=True)
    async with Broadcaster(log=log, timing=AT_ONCE) as broadcaster:
        receipt = await broadcaster.publish("job.7", "job.progress", {})
    assert len(await events_of(log)) == 1
    assert receipt.position is not None
    assert receipt.position.offset == 1


async def test_lasting_failure_is_raised_after_the_retries() -> None:
    failures = [BackendUnavailableError(f"cut {n}") for n in range(AT_ONCE.retries + 1)]
    log = FailingLog(*failures)
    async with Broadcaster(log=log, timing=AT_ONCE) as broadcaster:
        with pytest.raises(BackendUnavailableError, match="cut 4"):
            await broadcaster.publish("job.7", "job.progress", {})
    assert len(log.appended_ids) == AT_ONCE.retries + 1


async def test_failure_that_is_not_retryable_is_raised_at_once() -> None:
    log = FailingLog(BackendAuthError("bad signature"))
    async with Broadcaster(log=log) as broadcaster:
        with pytest.raises(BackendAuthError, match="bad signature"):
            await broadcaster.publish("job.7", "job.progress", {})
    assert len(log.appended_ids) == 1


async def test_timeout_of_the_log_is_an_error_with_a_hint() -> None:
    async with Broadcaster(log=SilentLog(), timing=IMPATIENT) as broadcaster:
        with pytest.raises(BackendUnavailableError) as caught:
            await broadcaster.publish("job.7", "job.progress", {})
    assert str(caught.value) == (
        "the memory log did not answer within 0.01 s: check that it runs and can be reached. "
        "Publishing the same id again is safe"
    )
    assert caught.value.retryable


async def test_timeout_between_retries_raises_the_last_failure() -> None:
    log = FailingLog(BackendUnavailableError("no server at example.org"))
    timing = PublishTiming(call_seconds=0.01, retry_delay=lambda _: 60.0)
    async with Broadcaster(log=log, timing=timing) as broadcaster:
        with pytest.raises(BackendUnavailableError, match=r"no server at example\.org"):
            await broadcaster.publish("job.7", "job.progress", {})


async def test_appended_events_are_pushed_with_their_positions(log: MemoryBackend) -> None:
    pusher = RecordingBackend()
    async with Broadcaster(log=log, backend=pusher) as broadcaster:
        await broadcaster.publish_many(numbered("job.7", 2))
    assert [event.position for event in pusher.pushed] == [
        event.position for event in await events_of(log)
    ]
    assert all(event.time for event in pusher.pushed)


async def test_repeated_id_pushes_the_stored_event_again(log: MemoryBackend) -> None:
    pusher = RecordingBackend()
    async with Broadcaster(log=log, backend=pusher) as broadcaster:
        await broadcaster.publish("job.7", "job.started", {})
        await broadcaster.publish("job.7", "job.progress", "first", id="same")
        again = await broadcaster.publish("job.7", "job.progress", "second", id="same")
    assert again.duplicate
    assert [(event.data, event.position) for event in pusher.pushed[1:]] == [
        ("first", again.position)
    ] * 2


async def test_repeated_id_of_a_trimmed_event_is_not_pushed() -> None:
    pusher = RecordingBackend()
    async with Broadcaster(log=MemoryBackend(Retention(events=2)), backend=pusher) as broadcaster:
        await broadcaster.publish("job.7", "job.progress", "first", id="same")
        await broadcaster.publish_many(numbered("job.7", 3))
        again = await broadcaster.publish("job.7", "job.progress", "second", id="same")
    assert again == Receipt(id="same", position=again.position, duplicate=True)
    assert [event.id for event in pusher.pushed].count("same") == 1


@pytest.mark.parametrize(
    ("pusher", "problem"),
    [
        (RecordingBackend(BackendUnavailableError("down")), "down"),
        (RecordingBackend(silent=True), "the pusher at example.org did not answer within"),
    ],
)
async def test_failed_push_after_the_append_is_a_warning(
    log: MemoryBackend,
    caplog: pytest.LogCaptureFixture,
    pusher: RecordingBackend,
    problem: str,
) -> None:
    timing = PublishTiming(call_seconds=0.05)
    async with Broadcaster(log=log, backend=pusher, timing=timing) as broadcaster:
        receipt = await broadcaster.publish("job.7", "job.progress", {})
    assert receipt.pushed is False
    assert [event.position for event in await events_of(log)] == [receipt.position]
    (warning,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert problem in warning.getMessage()


async def test_push_decides_success_without_a_log() -> None:
    pusher = RecordingBackend()
    async with Broadcaster(backend=pusher) as broadcaster:
        receipt = await broadcaster.publish("job.7", "job.progress", {}, id="one")
    assert receipt == Receipt(id="one")
    assert [(event.id, event.position) for event in pusher.pushed] == [("one", None)]


async def test_failed_push_without_a_log_is_an_error() -> None:
    async with Broadcaster(backend=RecordingBackend(BackendAuthError("bad key"))) as broadcaster:
        with pytest.raises(BackendAuthError, match="bad key"):
            await broadcaster.publish("job.7", "job.progress", {})
    async with Broadcaster(backend=RecordingBackend(silent=True), timing=IMPATIENT) as broadcaster:
        with pytest.raises(BackendUnavailableError, match=r"the pusher at example\.org did not"):
            await broadcaster.publish("job.7", "job.progress", {})


async def test_leaving_closes_the_parts() -> None:
    pusher = RecordingBackend()
    async with Broadcaster(backend=pusher):
        assert pusher.open
    assert not pusher.open


async def test_failure_of_one_part_closes_the_other() -> None:
    class ClosingLog(MemoryBackend):
        closed = False

        async def __aexit__(self, *_: object) -> None:
            self.closed = True

    log = ClosingLog()
    with pytest.raises(OSError, match="no route"):
        await Broadcaster(log=log, backend=RecordingBackend(OSError("no route"))).__aenter__()
    assert log.closed


class TestPublisherInTheServersProcess:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(backend="memory", prefix="served")

    async def test_publish_goes_to_the_servers_log(
        self, log: MemoryBackend, settings: Settings
    ) -> None:
        mine = Broadcaster.from_settings(settings)
        assert not mine.is_on_server_loop()
        with register_local_server("served", Broadcaster(log=log)):
            assert mine.is_on_server_loop()
            receipt = await mine.publish("job.7", "job.progress", {})
        assert [event.position for event in await events_of(log)] == [receipt.position]
        assert isinstance(mine.log, MemoryBackend)
        assert await events_of(mine.log) == []

    async def test_publish_of_another_loop_goes_to_the_servers_log(
        self, log: MemoryBackend, settings: Settings
    ) -> None:
        def publish() -> tuple[Receipt, bool]:
            async def there() -> tuple[Receipt, bool]:
                async with Broadcaster.from_settings(settings) as mine:
                    receipt = await mine.publish("job.7", "job.progress", threading.get_ident())
                    return receipt, mine.is_on_server_loop()

            return asyncio.run(there())

        with register_local_server("served", Broadcaster(log=log)):
            receipt, would_block = await asyncio.to_thread(publish)
        (stored,) = await events_of(log)
        assert stored.position == receipt.position
        assert stored.data != threading.get_ident()
        assert not would_block

    async def test_servers_own_broadcaster_appends_itself(self, settings: Settings) -> None:
        own = Broadcaster.from_settings(settings)
        with register_local_server("served", own):
            receipt = await own.publish("job.7", "job.progress", {})
        assert receipt.position is not None

    async def test_application_of_another_prefix_has_its_own_log(self, log: MemoryBackend) -> None:
        other = Broadcaster.from_settings(Settings(backend="memory", prefix="other"))
        with register_local_server("served", Broadcaster(log=log)):
            await other.publish("job.7", "job.progress", {})
        assert await events_of(log) == []

    async def test_stopped_server_gets_no_publish(
        self, log: MemoryBackend, settings: Settings
    ) -> None:
        with register_local_server("served", Broadcaster(log=log)):
            pass
        await Broadcaster.from_settings(settings).publish("job.7", "job.progress", {})
        assert await events_of(log) == []

    async def test_errors_of_the_server_reach_the_other_thread(self, settings: Settings) -> None:
        def publish() -> None:
            async def there() -> None:
                await Broadcaster.from_settings(settings).publish("job.7", "job.progress", {})

            asyncio.run(there())

        served = Broadcaster(log=FailingLog(BackendAuthError("refused")))
        with (
            register_local_server("served", served),
            pytest.raises(BackendAuthError, match="refused"),
        ):
            await asyncio.to_thread(publish)


async def test_environment_describes_the_broadcaster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_BACKEND", "memory")
    monkeypatch.setenv("REALTIME_LOG", "auto")
    async with Broadcaster.from_env() as broadcaster:
        receipt = await broadcaster.publish("job.7", "job.progress", {})
    assert isinstance(broadcaster.log, MemoryBackend)
    assert receipt.position is not None


class TestRolledBackLog:
    async def test_publish_after_a_rollback_starts_a_new_epoch(self) -> None:
        log = SlowLog()
        async with Broadcaster(log=log) as broadcaster:
            *_, before = [await broadcaster.publish("job.7", "job.step", n) for n in range(5)]
            log.lose("job.7", 2)
            after = await broadcaster.publish("job.7", "job.step", 5)
        assert before.position
        assert after.position
        assert after.position.epoch != before.position.epoch
        assert (after.position.offset, after.duplicate) == (1, False)
        assert [event.data for event in await events_of(log.memory)] == [5]

    async def test_part_of_a_stream_is_not_added_twice(self) -> None:
        log = SlowLog()
        fields: dict[str, Any] = {"channel": "job.7", "key": "k", "attempt": "A"}
        batch = [
            Event(event="run.started", data=None, take="always", **fields),
            Event(event="run.part", data=["item"], fold="append", **fields),
            *numbered("job.7", 1),
        ]
        async with Broadcaster(log=log) as broadcaster:
            *_, before = await broadcaster.publish_many(numbered("job.7", 3))
            log.lose("job.7", 3)
            receipts = await broadcaster.publish_many(batch)
        group = await log.memory.latest("job.7", key="k")
        assert [event.data for event in group.events] == [None, ["item"]]
        assert before.position
        for receipt in receipts:
            assert receipt.position
            assert receipt.position.epoch == group.top.epoch != before.position.epoch

    async def test_other_channels_of_the_batch_keep_their_epoch(self) -> None:
        log = SlowLog()
        async with Broadcaster(log=log) as broadcaster:
            await broadcaster.publish_many([*numbered("job.7", 3), *numbered("job.8", 3)])
            log.lose("job.7", 1)
            mixed = [*numbered("job.8", 1), *numbered("job.7", 1), *numbered("job.8", 1)]
            receipts = await broadcaster.publish_many(mixed)
        assert [receipt.id for receipt in receipts] == [event.id for event in mixed]
        assert [receipt.position and receipt.position.offset for receipt in receipts] == [4, 1, 5]
        assert receipts[0].position
        assert receipts[2].position
        assert receipts[0].position.epoch == receipts[2].position.epoch

    async def test_concurrent_publishes_are_no_rollback(self) -> None:
        log = SlowLog()
        async with Broadcaster(log=log) as broadcaster:
            receipts = await asyncio.gather(
                *(broadcaster.publish("job.7", "job.step", n) for n in range(50))
            )
        assert len({receipt.position and receipt.position.epoch for receipt in receipts}) == 1


async def test_integer_that_browsers_round_is_refused_unless_allowed() -> None:
    log = MemoryBackend()
    async with Broadcaster(log=log) as broadcaster:
        with pytest.raises(InvalidEventError, match="send it as text") as caught:
            await broadcaster.publish("job.7", "job.step", {"id": 653247040368672768})
        assert "REALTIME_LARGE_INTEGERS=on" in str(caught.value)
        await broadcaster.publish("job.7", "job.step", {"id": "653247040368672768"})
    async with Broadcaster(log=log, large_integers=True) as broadcaster:
        await broadcaster.publish("job.7", "job.step", {"id": 653247040368672768})
    assert (await log.positions(["job.7"]))["job.7"].offset == 2
