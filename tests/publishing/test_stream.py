"""Streams of a broadcaster, async and blocking, on a log in memory."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from realtime_bridge import BlockingBroadcaster, Broadcaster, Event, Receipt
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.errors import (
    BackendUnavailableError,
    ConfigurationError,
    InvalidEventError,
    KeyOwnedError,
    StreamError,
    StreamSupersededError,
)
from realtime_bridge.model.page import Page
from realtime_bridge.model.receipt import Lease, Renewal
from realtime_bridge.protocol.streams.writer_state import StreamState
from realtime_bridge.publishing.lease_keeper import LeaseKeeper
from realtime_bridge.publishing.stream_writer import StreamWriter
from realtime_bridge.publishing.timing import PublishTiming
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.null import NullBackend
from tests.publishing.test_broadcaster import RecordingBackend

CHANNEL = "chat.1"


@pytest.fixture
async def broadcaster() -> AsyncIterator[Broadcaster]:
    async with Broadcaster(log=MemoryBackend()) as broadcaster:
        yield broadcaster


async def accepted(stream: Any, count: int) -> None:
    """Wait until the log has this many items."""
    async with asyncio.timeout(30):
        while len(stream.items) < count:  # noqa: ASYNC110 -- the stream sets no event
            await asyncio.sleep(0)


async def test_stream_delivers_items_and_completes(broadcaster: Broadcaster) -> None:
    async with broadcaster.stream(CHANNEL, id="m1", meta={"model": "x"}) as stream:
        for word in ("one ", "two ", "three"):
            stream.append(word)
        assert stream.state == "open"
    assert (stream.state, stream.text) == ("completed", "one two three")
    snapshot = await broadcaster.read_stream(CHANNEL, "m1")
    assert snapshot
    assert (snapshot.state, snapshot.text, snapshot.attempt) == (
        "completed", "one two three", stream.attempt
    )  # fmt: skip
    assert (snapshot.meta, snapshot.format, snapshot.trimmed) == ({"model": "x"}, "text", False)


async def test_exception_fails_the_stream_and_is_raised(broadcaster: Broadcaster) -> None:
    async def divide() -> None:
        async with broadcaster.stream(CHANNEL, id="m1") as stream:
            stream.append("begun")
            raise ZeroDivisionError("the model divided by zero")

    with pytest.raises(ZeroDivisionError):
        await divide()
    snapshot = await broadcaster.read_stream(CHANNEL, "m1")
    assert snapshot
    assert (snapshot.state, snapshot.error) == ("failed", "the model divided by zero")
    assert snapshot.text == "begun"


async def test_stop_ends_the_block_without_an_error(broadcaster: Broadcaster) -> None:
    async with broadcaster.stream(CHANNEL, id="m1") as stream:
        stream.append("begun")
        await accepted(stream, 1)
        assert await broadcaster.stop_stream(CHANNEL, "m1", by="42")
        while True:
            stream.append("more")
            await asyncio.sleep(0)
    assert (stream.state, stream.text) == ("stopped", "begun")
    snapshot = await broadcaster.read_stream(CHANNEL, "m1")
    assert snapshot
    assert (snapshot.state, snapshot.items) == ("stopped", ("begun",))
    assert not await broadcaster.stop_stream(CHANNEL, "m1")


async def test_stopped_stream_is_stopped_when_it_runs_again(broadcaster: Broadcaster) -> None:
    async with broadcaster.stream(CHANNEL, id="m1") as stream:
        stream.append("begun")
        await accepted(stream, 1)
        await broadcaster.stop_stream(CHANNEL, "m1")
    async with broadcaster.stream(CHANNEL, id="m1") as again:
        assert again.state == "stopped"
        assert not await again.write(["never"])


async def test_stop_of_a_stream_that_the_log_loses_finds_none() -> None:
    class LosingLog(MemoryBackend):
        async def append(self, events: Sequence[Event]) -> list[Receipt]:
            if events[0].event == "stream.ended" and events[0].data["state"] == "stopped":
                MemoryBackend.__init__(self)
            return await super().append(events)

    async with (
        Broadcaster(log=LosingLog()) as broadcaster,
        broadcaster.stream(CHANNEL, id="m1") as stream,
    ):
        stream.append("begun")
        await accepted(stream, 1)
        reply = await broadcaster.streams.stop(CHANNEL, "m1")
    assert (reply.outcome, reply.state) == ("unknown", "unknown")


async def test_stop_of_another_attempt_changes_nothing(broadcaster: Broadcaster) -> None:
    async with broadcaster.stream(CHANNEL, id="m1", attempt="B") as stream:
        stream.append("begun")
        await accepted(stream, 1)
        assert not await broadcaster.stop_stream(CHANNEL, "m1", attempt="A")
        assert not await broadcaster.stop_stream(CHANNEL, "unknown")
    assert stream.state == "completed"


async def test_superseded_writer_gets_an_exception(broadcaster: Broadcaster) -> None:
    async def take_over() -> None:
        async with broadcaster.stream(CHANNEL, id="m1") as first:
            first.append("old")
            await accepted(first, 1)
            async with broadcaster.stream(CHANNEL, id="m1") as second:
                second.append("new")
            while True:
                first.append("late")
                await asyncio.sleep(0)

    with pytest.raises(StreamSupersededError):
        await take_over()
    snapshot = await broadcaster.read_stream(CHANNEL, "m1")
    assert snapshot
    assert (snapshot.state, snapshot.text) == ("completed", "new")


async def test_write_reads_a_source_until_the_stop(broadcaster: Broadcaster) -> None:
    taken = 0

    async def source() -> AsyncIterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield "token "
            await asyncio.sleep(0)
            if taken == 3:
                await accepted(stream, 1)
                await broadcaster.stop_stream(CHANNEL, "m1")

    async with broadcaster.stream(CHANNEL, id="m1") as stream:
        assert not await stream.write(source())
    assert taken >= 3
    async with broadcaster.stream(CHANNEL, id="m2") as other:
        assert await other.write(["a", "b"])
    assert other.text == "ab"


async def test_models_are_dumped_by_alias_without_none(broadcaster: Broadcaster) -> None:
    class Chunk(BaseModel):
        kind: str = Field(serialization_alias="type")
        delta: str | None = None

    async with broadcaster.stream(CHANNEL, format="json") as stream:
        stream.append(Chunk(kind="text-delta", delta="Hi"))
        stream.append(Chunk(kind="finish"))
        stream.append([1, None])
    assert stream.items == [{"type": "text-delta", "delta": "Hi"}, {"type": "finish"}, [1, None]]


@pytest.mark.parametrize(
    ("item", "wrong"), [(1, "takes text, not int"), (None, "NoneType"), (b"x", "bytes")]
)
async def test_text_stream_takes_text_alone(
    broadcaster: Broadcaster, item: object, wrong: str
) -> None:
    async with broadcaster.stream(CHANNEL) as stream:
        with pytest.raises(InvalidEventError, match=wrong):
            stream.append(item)


@pytest.mark.parametrize("form", ["ui-message", "ag-ui"])
async def test_stream_of_a_chat_protocol_takes_objects_alone(
    broadcaster: Broadcaster, form: Any
) -> None:
    async with broadcaster.stream(CHANNEL, format=form) as stream:
        stream.append({"type": "start"})
        with pytest.raises(InvalidEventError, match=f"of {form} takes objects, not str"):
            stream.append("start")
    assert stream.items == [{"type": "start"}]


async def test_item_that_is_no_json_is_refused(broadcaster: Broadcaster) -> None:
    async with broadcaster.stream(CHANNEL, format="json") as stream:
        with pytest.raises(InvalidEventError, match="not JSON"):
            stream.append(object())


async def test_item_larger_than_an_event_is_refused_and_parts_keep_the_limit() -> None:
    async with (
        Broadcaster(log=MemoryBackend(), limit_event_bytes=200) as broadcaster,
        broadcaster.stream(CHANNEL) as stream,
    ):
        with pytest.raises(InvalidEventError, match="REALTIME_LIMIT_EVENT_BYTES"):
            stream.append("x" * 200)
        for _ in range(100):
            stream.append("y" * 10)
    assert (stream.state, stream.text) == ("completed", "y" * 1_000)


async def test_stream_whose_start_is_too_large_fails(caplog: pytest.LogCaptureFixture) -> None:
    async with Broadcaster(log=MemoryBackend(), limit_event_bytes=200) as broadcaster:
        async with broadcaster.stream(CHANNEL, meta="x" * 500) as stream:
            stream.append("a")
        assert (stream.state, stream.text) == ("failed", "")
    assert "stream lost" in caplog.text


async def test_half_a_surrogate_pair_is_refused(broadcaster: Broadcaster) -> None:
    async with broadcaster.stream(CHANNEL) as stream:
        with pytest.raises(InvalidEventError, match="not JSON"):
            stream.append("\ud83d")
    assert stream.state == "completed"


@pytest.mark.parametrize(("form", "item"), [("text", " token"), ("json", [1])])
async def test_items_occupy_no_more_than_their_own_size(
    broadcaster: Broadcaster, form: Any, item: Any
) -> None:
    count = 20_000
    async with broadcaster.stream(CHANNEL, format=form) as stream:
        before = resident_bytes()
        for _ in range(count):
            stream.append(item)
        assert resident_bytes() - before < 500 * count


def resident_bytes() -> int:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"id": "x" * 122}, "stream id"),
        ({"id": 7}, "stream id"),
        ({"id": "a\nb"}, "stream id"),
        ({"format": "xml"}, "format"),
        ({"attempt": "a b"}, "attempt"),
    ],
)
async def test_bad_arguments_are_named(
    broadcaster: Broadcaster, arguments: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(InvalidEventError, match=wrong):
        broadcaster.stream(CHANNEL, **arguments)


async def test_stream_needs_a_log() -> None:
    async with Broadcaster(backend=RecordingBackend()) as broadcaster:
        with pytest.raises(ConfigurationError, match="set REALTIME_LOG"):
            async with broadcaster.stream(CHANNEL):
                pass


async def test_stream_is_dropped_where_realtime_is_switched_off() -> None:
    async with Broadcaster(backend=NullBackend()) as broadcaster:
        async with broadcaster.stream(CHANNEL, id="m1") as stream:
            assert await stream.write(["a", "b"])
        assert (stream.state, stream.text) == ("completed", "ab")
        assert await broadcaster.read_stream(CHANNEL, "m1") is None
        assert not await broadcaster.stop_stream(CHANNEL, "m1")


async def test_plain_event_for_the_key_of_a_stream_is_refused(broadcaster: Broadcaster) -> None:
    async with broadcaster.stream(CHANNEL, id="m1") as stream:
        stream.append("begun")
        await accepted(stream, 1)
        with pytest.raises(KeyOwnedError, match="'stream-m1' of chat"):
            await broadcaster.publish(CHANNEL, "x", key="stream-m1")
        (receipt,) = await broadcaster.publish_many(
            [Event(channel=CHANNEL, event="x", data=None, key="stream-m1")]
        )
        assert (receipt.refused, receipt.position) == ("owned", None)


async def test_refused_events_are_neither_counted_nor_pushed() -> None:
    backend = RecordingBackend()
    async with Broadcaster(log=MemoryBackend(), backend=backend) as broadcaster:
        take: dict[str, Any] = {"key": "k", "attempt": "A", "take": "always"}
        owned = Event(channel=CHANNEL, event="owned", data=1, **take)
        plain = Event(channel=CHANNEL, event="plain", data=2, key="k")
        await broadcaster.publish_many([owned, plain])
        await broadcaster.publish_many([plain])
        assert broadcaster.published == 1
        assert [event.event for event in backend.pushed] == ["owned"]


class FragileLog(MemoryBackend):
    down = False

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        if self.down:
            raise BackendUnavailableError("The log is down")
        return await super().append(events)


async def test_items_wait_while_the_log_is_down() -> None:
    log = FragileLog()
    async with Broadcaster(log=log) as broadcaster, broadcaster.stream(CHANNEL, id="m1") as stream:
        stream.append("a")
        await accepted(stream, 1)
        log.down = True
        stream.append("b")
        await asyncio.sleep(0.1)
        stream.append("c")
        log.down = False
        await accepted(stream, 3)
    assert stream.text == "abc"


async def test_close_of_the_broadcaster_does_not_wait_for_a_log_that_is_down(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = FragileLog()
    timing = PublishTiming(close_seconds=0.05)
    async with Broadcaster(log=log, timing=timing) as broadcaster:
        writer = broadcaster.stream(CHANNEL, id="m1")
        await writer.__aenter__()
        log.down = True
        writer.append("lost")
    assert "stream items lost streams=1" in caplog.text


class LosingLog(MemoryBackend):
    """Log that loses everything, or one receipt."""

    def __init__(self) -> None:
        super().__init__()
        self.lose()
        self.loses_receipt = False

    def lose(self) -> None:
        self.kept = MemoryBackend()

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        receipts = await self.kept.append(events)
        if self.loses_receipt:
            self.loses_receipt = False
            raise BackendUnavailableError("The answer of the log was lost")
        return receipts

    async def latest(self, channel: str, **options: Any) -> Page:
        return await self.kept.latest(channel, **options)


async def test_log_that_lost_everything_is_filled_again() -> None:
    log = LosingLog()
    async with Broadcaster(log=log) as broadcaster:
        async with broadcaster.stream(CHANNEL, id="m1", meta=7) as stream:
            stream.append("a")
            await accepted(stream, 1)
            log.lose()
            stream.append("b")
            await accepted(stream, 2)
            snapshot = await broadcaster.read_stream(CHANNEL, "m1")
            assert snapshot
            assert (snapshot.text, snapshot.meta, snapshot.attempt) == ("ab", 7, stream.attempt)
        assert stream.state == "completed"


async def test_lost_receipt_repeats_no_item() -> None:
    log = LosingLog()
    async with Broadcaster(log=log) as broadcaster:
        async with broadcaster.stream(CHANNEL, id="m1") as stream:
            stream.append("a")
            await accepted(stream, 1)
            log.loses_receipt = True
            stream.append("b")
            await accepted(stream, 2)
            assert not log.loses_receipt
        snapshot = await broadcaster.read_stream(CHANNEL, "m1")
        assert snapshot
        assert (snapshot.state, snapshot.text) == ("completed", "ab")


class ClosingLog(FragileLog):
    """Log that stores nothing after it was closed."""

    async def __aexit__(self, *error: object) -> None:
        self.down = True
        await super().__aexit__(None, None, None)


async def test_items_are_stored_before_the_log_closes() -> None:
    broadcaster = Broadcaster(log=ClosingLog(), timing=PublishTiming(close_seconds=0.5))
    writer = broadcaster.stream(CHANNEL, id="m1")  # before the broadcaster opens its log
    async with broadcaster:
        await writer.__aenter__()
        writer.append("kept")
    assert writer.text == "kept"


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_forked_child_leaves_the_stream_to_its_parent() -> None:
    with (
        BlockingBroadcaster(lambda: Broadcaster(log=MemoryBackend())) as broadcaster,
        broadcaster.stream(CHANNEL, id="m1") as stream,
    ):
        stream.append("parent")
        read_end, write_end = os.pipe()
        child = os.fork()
        if not child:
            try:
                with pytest.raises(StreamError, match="call `stream` after the fork"):
                    stream.append("child")
                with pytest.raises(StreamError):
                    stream.write(["child"])
                stream.close()
                os.write(write_end, b"left")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as answer:
            assert answer.read() == b"left"
        stream.append(" goes on")
    assert (stream.state, stream.text) == ("completed", "parent goes on")


def test_blocking_stream_appends_from_any_code() -> None:
    broadcaster = BlockingBroadcaster(lambda: Broadcaster(log=MemoryBackend()))
    with broadcaster.stream(CHANNEL, id="m1") as stream:
        assert stream.write(f"{n} " for n in range(1_000))
    assert stream.text == "".join(f"{n} " for n in range(1_000))
    snapshot = broadcaster.read_stream(CHANNEL, "m1")
    assert snapshot
    assert (snapshot.state, snapshot.text) == ("completed", stream.text)
    assert not broadcaster.stop_stream(CHANNEL, "m1")
    with pytest.raises(ZeroDivisionError), broadcaster.stream(CHANNEL, id="m2"):
        raise ZeroDivisionError
    failed = broadcaster.read_stream(CHANNEL, "m2")
    assert failed
    assert (failed.state, failed.error) == ("failed", "ZeroDivisionError")
    broadcaster.close()


def test_blocking_stream_is_stopped_from_another_thread() -> None:
    broadcaster = BlockingBroadcaster(lambda: Broadcaster(log=MemoryBackend()))
    with broadcaster.stream(CHANNEL, id="m1") as stream:
        stream.append("begun")
        while not stream.items:
            pass
        broadcaster.stop_stream(CHANNEL, "m1")
        while stream.state == "open":
            stream.write(["more"])
        assert not stream.write(["more"])
    assert stream.text == "begun"
    broadcaster.close()


async def test_stop_reaches_a_silent_writer_by_a_renewal() -> None:
    log = MemoryBackend()
    async with Broadcaster(log=log) as broadcaster, Supervisor() as tasks:
        broadcaster.streams.leases = LeaseKeeper(log.renew, tasks, interval=0.001)
        async with broadcaster.stream(CHANNEL, id="m1") as stream:
            stream.append("begun")
            await accepted(stream, 1)
            await broadcaster.stop_stream(CHANNEL, "m1")
            async with asyncio.timeout(30):
                while stream.state == "open":  # noqa: ASYNC110 -- the stream sets no event
                    await asyncio.sleep(0)
    assert (stream.state, stream.text) == ("stopped", "begun")


async def test_keeper_renews_in_calls_and_reports_each_answer() -> None:
    calls: list[Sequence[Lease]] = []
    answers: dict[str, int] = {}
    is_down, done = True, asyncio.Event()

    async def renew(leases: Sequence[Lease]) -> list[Renewal]:
        nonlocal is_down
        calls.append(leases)
        if is_down:
            is_down = False
            raise BackendUnavailableError("The log is down")
        return [Renewal("ended", int(lease.key)) for lease in leases]

    def notice_of(key: str) -> Callable[[Renewal], None]:
        def notice(renewal: Renewal) -> None:
            answers[key] = renewal.noted
            if len(answers) == 600:
                done.set()

        return notice

    async with Supervisor() as tasks:
        keeper = LeaseKeeper(renew, tasks, interval=0.001)
        leases = [Lease(CHANNEL, str(n), "A") for n in range(601)]
        for lease in leases:
            keeper.add(lease, notice_of(lease.key))
        keeper.remove(leases[0])
        async with asyncio.timeout(30):
            await done.wait()
    assert answers == {str(n): n for n in range(1, 601)}
    assert {len(call) for call in calls} == {500, 100}


class LookCountingState(StreamState):
    """State that counts how often its writer looks for events."""

    looks = 0

    def next_batch(self, now: float) -> list[Event]:
        self.looks += 1
        return super().next_batch(now)


async def test_items_of_one_pace_do_not_wake_the_writer(broadcaster: Broadcaster) -> None:
    options: Any = {"attempt": "A", "nonce": "n", "format": "text", "meta": None, "pace": 3_600}
    state = LookCountingState(CHANNEL, "m1", **options)
    writer = StreamWriter(broadcaster.streams, state, Lease(CHANNEL, "stream-m1", "A"))
    await writer.begin()
    writer.add(b'"first"')
    while not writer.items():  # noqa: ASYNC110 -- the writer sets no event
        await asyncio.sleep(0)
    looks = state.looks
    for _ in range(100):
        writer.add(b'"later"')
        await asyncio.sleep(0)
    assert state.looks <= looks + 1  # that of the writer before it sleeps
    await writer.finish("completed", None, 5)
    assert len(writer.items()) == 101


async def test_full_part_wakes_the_writer_within_a_pace(broadcaster: Broadcaster) -> None:
    async with broadcaster.stream(CHANNEL, id="m1", pace=3_600) as stream:
        stream.append("first")
        await accepted(stream, 1)
        for _ in range(10):
            stream.append("x" * 1_000)
        await accepted(stream, 10)
