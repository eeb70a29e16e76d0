"""Publishing: the log decides success, retries keep the ids, and every failure says its cure."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Self

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


class Shaky(MemoryBackend):
    """A log that fails as it is told, before or after it stored the events."""

    in_process = False

    def __init__(self, *failures: Exception, after: bool = False) -> None:
        super().__init__()
        self.asked: list[list[str]] = []
        self._failures = list(failures)
        self._after = after

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        self.asked.append([event.id for event in events])
        failure = self._failures.pop(0) if self._failures else None
        if failure and not self._after:
            raise failure
        receipts = await super().append(events)
        if failure:
            raise failure
        return receipts


class Silent(MemoryBackend):
    """A log that never answers."""

    in_process = False

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        await asyncio.Event().wait()
        raise AssertionError


class Pusher(Backend):
    """A backend that notes what it is handed, or fails as it is told."""

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


async def test_a_publish_returns_the_place_of_its_event(log: MemoryBackend) -> None:
    async with Broadcaster(log=log) as broadcaster:
        receipt = await broadcaster.publish(
            "job.7", "job.progress", {"percent": 30}, id="one", key="k", source="c_1"
        )
    (held,) = await events_of(log)
    assert receipt == Receipt(id="one", position=held.position)
    assert (held.event, held.data) == ("job.progress", {"percent": 30})
    assert (held.id, held.key, held.source) == ("one", "k", "c_1")


async def test_an_event_may_have_no_data(log: MemoryBackend) -> None:
    async with Broadcaster(log=log) as broadcaster:
        await broadcaster.publish("job.7", "job.done")
    assert (await events_of(log))[0].data is None


async def test_many_are_published_in_order_with_one_append() -> None:
    log = Shaky()
    async with Broadcaster(log=log) as broadcaster:
        receipts = await broadcaster.publish_many(numbered("job.7", 500))
    assert [receipt.position and receipt.position.offset for receipt in receipts] == [
        *range(1, 501)
    ]
    assert len(log.asked) == 1


async def test_publishing_none_is_no_error(log: MemoryBackend) -> None:
    pusher = Pusher()
    async with Broadcaster(log=log, backend=pusher) as broadcaster:
        assert await broadcaster.publish_many([]) == []
    assert pusher.pushed == []


async def test_more_than_500_at_once_are_refused_before_any_is_published(
    log: MemoryBackend,
) -> None:
    async with Broadcaster(log=log) as broadcaster:
        with pytest.raises(InvalidEventError, match=r"^501 events at once .* limit of 500"):
            await broadcaster.publish_many(numbered("job.7", 501))
    assert await events_of(log) == []


async def test_an_invalid_event_is_refused_before_the_log_is_asked() -> None:
    log = Shaky()
    async with Broadcaster(log=log) as broadcaster:
        with pytest.raises(InvalidEventError):
            await broadcaster.publish("job 7", "job.progress", {})
    assert log.asked == []


def test_a_broadcaster_that_carries_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Nothing delivers the events"):
        Broadcaster()


async def test_a_retryable_failure_is_tried_again_with_the_same_ids() -> None:
    log = Shaky(BackendUnavailableError("cut"), BackendUnavailableError("cut"))
    async with Broadcaster(log=log, timing=AT_ONCE) as broadcaster:
        receipt = await broadcaster.publish("job.7", "job.progress", {})
    assert log.asked == [[receipt.id]] * 3
    assert not receipt.duplicate


async def test_an_answer_lost_after_the_append_gives_no_second_event() -> None:
    log = Shaky(BackendUnavailableError("cut"), after=True)
    async with Broadcaster(log=log, timing=AT_ONCE) as broadcaster:
        receipt = await broadcaster.publish("job.7", "job.progress", {})
    assert len(await events_of(log)) == 1
    assert receipt.position is not None
    assert receipt.position.offset == 1


async def test_a_failure_that_lasts_is_raised_after_the_retries() -> None:
    failures = [BackendUnavailableError(f"cut {n}") for n in range(AT_ONCE.retries + 1)]
    log = Shaky(*failures)
    async with Broadcaster(log=log, timing=AT_ONCE) as broadcaster:
        with pytest.raises(BackendUnavailableError, match="cut 4"):
            await broadcaster.publish("job.7", "job.progress", {})
    assert len(log.asked) == AT_ONCE.retries + 1


async def test_a_failure_that_will_not_pass_is_raised_at_once() -> None:
    log = Shaky(BackendAuthError("bad signature"))
    async with Broadcaster(log=log) as broadcaster:
        with pytest.raises(BackendAuthError, match="bad signature"):
            await broadcaster.publish("job.7", "job.progress", {})
    assert len(log.asked) == 1


async def test_timeout_of_the_log_is_an_error_with_a_hint() -> None:
    async with Broadcaster(log=Silent(), timing=IMPATIENT) as broadcaster:
        with pytest.raises(BackendUnavailableError) as caught:
            await broadcaster.publish("job.7", "job.progress", {})
    assert str(caught.value) == (
        "the memory log did not answer within 0.01 s: check that it runs and can be reached. "
        "Publishing the same id again is safe"
    )
    assert caught.value.retryable


async def test_timeout_between_retries_raises_the_last_failure() -> None:
    log = Shaky(BackendUnavailableError("no server at example.org"))
    timing = PublishTiming(call_seconds=0.01, retry_delay=lambda _: 60.0)
    async with Broadcaster(log=log, timing=timing) as broadcaster:
        with pytest.raises(BackendUnavailableError, match=r"no server at example\.org"):
            await broadcaster.publish("job.7", "job.progress", {})


async def test_what_was_appended_is_pushed_with_its_place(log: MemoryBackend) -> None:
    pusher = Pusher()
    async with Broadcaster(log=log, backend=pusher) as broadcaster:
        await broadcaster.publish_many(numbered("job.7", 2))
    assert [event.position for event in pusher.pushed] == [
        event.position for event in await events_of(log)
    ]
    assert all(event.time for event in pusher.pushed)


async def test_of_a_repeated_id_the_stored_event_is_pushed_again(log: MemoryBackend) -> None:
    pusher = Pusher()
    async with Broadcaster(log=log, backend=pusher) as broadcaster:
        await broadcaster.publish("job.7", "job.started", {})
        await broadcaster.publish("job.7", "job.progress", "first", id="same")
        again = await broadcaster.publish("job.7", "job.progress", "second", id="same")
    assert again.duplicate
    assert [(event.data, event.position) for event in pusher.pushed[1:]] == [
        ("first", again.position)
    ] * 2


async def test_a_repeated_id_whose_event_was_trimmed_is_not_pushed_again() -> None:
    pusher = Pusher()
    async with Broadcaster(log=MemoryBackend(Retention(events=2)), backend=pusher) as broadcaster:
        await broadcaster.publish("job.7", "job.progress", "first", id="same")
        await broadcaster.publish_many(numbered("job.7", 3))
        again = await broadcaster.publish("job.7", "job.progress", "second", id="same")
    assert again == Receipt(id="same", position=again.position, duplicate=True)
    assert [event.id for event in pusher.pushed].count("same") == 1


@pytest.mark.parametrize(
    ("pusher", "problem"),
    [
        (Pusher(BackendUnavailableError("down")), "down"),
        (Pusher(silent=True), "the pusher at example.org did not answer within"),
    ],
)
async def test_a_failed_push_after_the_append_is_a_warning_and_no_error(
    log: MemoryBackend,
    caplog: pytest.LogCaptureFixture,
    pusher: Pusher,
    problem: str,
) -> None:
    timing = PublishTiming(call_seconds=0.05)
    async with Broadcaster(log=log, backend=pusher, timing=timing) as broadcaster:
        receipt = await broadcaster.publish("job.7", "job.progress", {})
    assert receipt.pushed is False
    assert [event.position for event in await events_of(log)] == [receipt.position]
    (warning,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert problem in warning.getMessage()


async def test_without_a_log_the_push_decides_success() -> None:
    pusher = Pusher()
    async with Broadcaster(backend=pusher) as broadcaster:
        receipt = await broadcaster.publish("job.7", "job.progress", {}, id="one")
    assert receipt == Receipt(id="one")
    assert [(event.id, event.position) for event in pusher.pushed] == [("one", None)]


async def test_failed_push_without_a_log_is_an_error() -> None:
    async with Broadcaster(backend=Pusher(BackendAuthError("bad key"))) as broadcaster:
        with pytest.raises(BackendAuthError, match="bad key"):
            await broadcaster.publish("job.7", "job.progress", {})
    async with Broadcaster(backend=Pusher(silent=True), timing=IMPATIENT) as broadcaster:
        with pytest.raises(BackendUnavailableError, match=r"the pusher at example\.org did not"):
            await broadcaster.publish("job.7", "job.progress", {})


async def test_leaving_closes_what_entering_opened() -> None:
    pusher = Pusher()
    async with Broadcaster(backend=pusher):
        assert pusher.open
    assert not pusher.open


async def test_when_one_part_cannot_be_entered_the_other_is_closed() -> None:
    class Watched(MemoryBackend):
        closed = False

        async def __aexit__(self, *_: object) -> None:
            self.closed = True

    log = Watched()
    with pytest.raises(OSError, match="no route"):
        await Broadcaster(log=log, backend=Pusher(OSError("no route"))).__aenter__()
    assert log.closed


class TestInTheProcessOfItsServer:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(backend="memory", prefix="served")

    async def test_a_publish_goes_straight_to_the_servers_log(
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

    async def test_so_does_one_from_the_loop_of_another_thread(
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
        (held,) = await events_of(log)
        assert held.position == receipt.position
        assert held.data != threading.get_ident()
        assert not would_block

    async def test_the_servers_own_broadcaster_does_not_go_round_in_circles(
        self, settings: Settings
    ) -> None:
        own = Broadcaster.from_settings(settings)
        with register_local_server("served", own):
            receipt = await own.publish("job.7", "job.progress", {})
        assert receipt.position is not None

    async def test_the_application_of_another_prefix_is_left_alone(
        self, log: MemoryBackend
    ) -> None:
        other = Broadcaster.from_settings(Settings(backend="memory", prefix="other"))
        with register_local_server("served", Broadcaster(log=log)):
            await other.publish("job.7", "job.progress", {})
        assert await events_of(log) == []

    async def test_after_the_server_stopped_nothing_reaches_it(
        self, log: MemoryBackend, settings: Settings
    ) -> None:
        with register_local_server("served", Broadcaster(log=log)):
            pass
        await Broadcaster.from_settings(settings).publish("job.7", "job.progress", {})
        assert await events_of(log) == []

    async def test_its_errors_reach_the_other_thread(self, settings: Settings) -> None:
        def publish() -> None:
            async def there() -> None:
                await Broadcaster.from_settings(settings).publish("job.7", "job.progress", {})

            asyncio.run(there())

        served = Broadcaster(log=Shaky(BackendAuthError("refused")))
        with (
            register_local_server("served", served),
            pytest.raises(BackendAuthError, match="refused"),
        ):
            await asyncio.to_thread(publish)


async def test_the_environment_describes_the_broadcaster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_BACKEND", "memory")
    monkeypatch.setenv("REALTIME_LOG", "auto")
    async with Broadcaster.from_env() as broadcaster:
        receipt = await broadcaster.publish("job.7", "job.progress", {})
    assert isinstance(broadcaster.log, MemoryBackend)
    assert receipt.position is not None


class TestALogThatLostItsTail:
    async def test_what_is_published_next_begins_a_new_epoch(self) -> None:
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

    async def test_other_channels_of_the_batch_are_left_alone(self) -> None:
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

    async def test_publishes_at_once_that_are_answered_in_any_order_prove_nothing(self) -> None:
        log = SlowLog()
        async with Broadcaster(log=log) as broadcaster:
            receipts = await asyncio.gather(
                *(broadcaster.publish("job.7", "job.step", n) for n in range(50))
            )
        assert len({receipt.position and receipt.position.epoch for receipt in receipts}) == 1
