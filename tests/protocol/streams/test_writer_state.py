"""Decisions of a stream's writer: pace, refills, refusals and ends, against a real history."""

from copy import deepcopy
from math import inf
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_bridge.errors import (
    InvalidEventError,
    StreamFullError,
    StreamStoppedError,
    StreamSupersededError,
)
from realtime_bridge.model.event import Event
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import History
from realtime_bridge.protocol.streams.writer_state import PART_BYTES, WAITING_BYTES, StreamState

CHANNEL, KEY = "chat.1", "stream-m1"
OPTIONS: dict[str, Any] = {"format": "text", "meta": None, "pace": 0.05}


class Log:
    """Log in memory, which can lose everything."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lose()

    def lose(self) -> None:
        self.history = History("k3v9q2wz", now=self.now, retention=Retention(seconds=10**9))

    def append(self, events: list[Event]) -> list[Receipt]:
        return [self.history.append(event, now=self.now, time=1)[0] for event in events]

    def events(self) -> list[tuple[str, Any]]:
        page = self.history.latest(key=KEY)
        return [(event.event, event.data) for event in page.events]

    def items(self) -> list[Any]:
        return [item for name, data in self.events() if name == "stream.part" for item in data]


def writer(attempt: str = "A", *, pace: float = 0.05) -> StreamState:
    options = OPTIONS | {"pace": pace}
    return StreamState(CHANNEL, "m1", attempt=attempt, nonce=f"nonce-{attempt}", **options)


def add(stream: StreamState, *items: Any) -> None:
    for item in items:
        stream.add(orjson.dumps(item))


def publish(stream: StreamState, log: Log) -> int:
    """Publish the next batch, and return the number of its events."""
    batch = stream.next_batch(log.now)
    if batch:
        stream.accept(log.append(batch))
    return len(batch)


def drain(stream: StreamState, log: Log) -> None:
    while (at := stream.wake_at()) is not None:
        log.now = max(log.now, at)
        publish(stream, log)


def test_first_item_is_published_at_once_and_later_ones_at_the_pace() -> None:
    stream, log = writer(), Log()
    stream.begin([])
    add(stream, "a")
    assert publish(stream, log) == 2
    add(stream, "b")
    assert publish(stream, log) == 0
    assert stream.wake_at() == 0.05
    add(stream, "c")
    log.now = 0.05
    assert publish(stream, log) == 1
    assert log.items() == ["a", "b", "c"]
    assert stream.items == [b'"a"', b'"b"', b'"c"']


def test_much_data_does_not_wait_for_the_pace() -> None:
    stream, log = writer(), Log()
    add(stream, "a")
    publish(stream, log)
    add(stream, "x" * PART_BYTES, "y" * PART_BYTES)
    assert stream.wake_at() == 0.0
    assert publish(stream, log) == 2


def test_one_batch_is_in_flight() -> None:
    stream, log = writer(), Log()
    add(stream, "a")
    batch = stream.next_batch(0.0)
    add(stream, "b")
    assert (stream.wake_at(), stream.next_batch(9.0)) == (None, [])
    assert stream.batch_again() == batch
    assert not stream.is_done
    stream.accept(log.append(batch))
    assert stream.wake_at() == 0.05


def test_ids_begin_with_the_nonce_and_count() -> None:
    stream = writer()
    add(stream, "a")
    assert [event.id for event in stream.next_batch(0.0)] == ["nonce-A-1", "nonce-A-2"]


def test_stopped_stream_is_stopped_from_the_start() -> None:
    log = Log()
    first = writer()
    drain(first, log)
    data = {"stream": "m1", "state": "stopped", "error": None, "by": "42"}
    stop = Event(channel=CHANNEL, event="stream.ended", data=data, key=KEY, fold="end", attempt="A")
    log.append([stop])
    again = writer("B")
    again.begin(log.history.latest(key=KEY).events)
    assert (again.state, again.is_done) == ("stopped", True)
    with pytest.raises(StreamStoppedError, match="m1 is stopped"):
        add(again, "a")


def test_completed_stream_begins_again_with_another_attempt() -> None:
    log, first = Log(), writer()
    add(first, "old")
    first.end("completed")
    drain(first, log)
    second = writer("B")
    second.begin(log.history.latest(key=KEY).events)
    add(second, "new")
    drain(second, log)
    assert log.items() == ["new"]


def test_stop_is_learnt_from_the_next_receipt() -> None:
    stream, log = writer(), Log()
    add(stream, "a")
    drain(stream, log)
    log.append([_ended("A")])
    add(stream, "b")
    drain(stream, log)
    assert (stream.state, stream.is_done, stream.items) == ("stopped", True, [b'"a"'])


def test_stop_is_learnt_from_a_renewal() -> None:
    stream = writer()
    drain(stream, Log())
    states = []
    for refused in ("lapsed", "ended"):
        stream.notice(refused)
        states.append(stream.state)
    assert states == ["open", "stopped"]


def test_stop_before_the_end_wins() -> None:
    stream, log = writer(), Log()
    drain(stream, log)
    log.append([_ended("A")])
    stream.end("completed")
    drain(stream, log)
    assert (stream.state, stream.is_done) == ("stopped", True)


def test_superseded_writer_publishes_nothing_more() -> None:
    stream, log = writer(), Log()
    add(stream, "a")
    drain(stream, log)
    other = writer("B")
    add(other, "b")
    drain(other, log)
    add(stream, "late")
    drain(stream, log)
    stream.end("completed")
    assert stream.is_done
    with pytest.raises(StreamSupersededError):
        stream.check()
    assert log.items() == ["b"]


def test_full_stream_takes_no_items_but_its_end() -> None:
    stream, log = writer(), Log()
    add(stream, "x" * 600_000)
    drain(stream, log)
    add(stream, "y" * 600_000)
    drain(stream, log)
    with pytest.raises(StreamFullError):
        add(stream, "z")
    assert len(stream.items) == 1
    stream.end("failed", "too long")
    drain(stream, log)
    assert log.events()[-1] == (
        "stream.ended",
        {"stream": "m1", "state": "failed", "error": "too long", "by": None},
    )


def test_item_over_the_limit_of_events_is_refused() -> None:
    stream, log = StreamState(CHANNEL, "m1", attempt="A", nonce="n", **OPTIONS, limit=100), Log()
    with pytest.raises(InvalidEventError, match="The item has 99 bytes, over the limit of 98"):
        add(stream, "x" * 97)
    add(stream, "x" * 96)
    drain(stream, log)
    assert log.items() == ["x" * 96]


def test_stream_that_gave_up_publishes_nothing_more() -> None:
    stream = writer()
    add(stream, "a")
    stream.next_batch(0.0)
    stream.end("completed")
    stream.give_up()
    assert (stream.state, stream.is_done, stream.wake_at()) == ("failed", True, None)
    assert stream.next_batch(9.0) == []


def test_items_that_wait_are_bounded() -> None:
    stream = writer()
    stream.next_batch(0.0)
    for _ in range(2):
        add(stream, "x" * (WAITING_BYTES // 2 - 2))
    with pytest.raises(StreamFullError):
        add(stream, "y")


@pytest.mark.parametrize("is_over", [False, True])
def test_lost_log_is_filled_again_with_all_items(*, is_over: bool) -> None:
    stream, log = writer(), Log()
    add(stream, *"abc")
    drain(stream, log)
    log.lose()
    add(stream, "d")
    if is_over:
        stream.end("completed")
    drain(stream, log)
    assert log.items() == [*"abcd"]
    assert len(stream.items) == 4
    assert (log.events()[-1][0] == "stream.ended") == is_over


def test_refill_takes_no_key_from_an_attempt_that_was_faster() -> None:
    stream, log = writer(), Log()
    add(stream, "a")
    drain(stream, log)
    log.lose()
    add(stream, "b")
    log.now += 1
    stream.accept(log.append(stream.next_batch(log.now)))  # it is gone
    drain(other := writer("B"), log)
    drain(stream, log)
    assert (other.state, stream.is_done) == ("open", True)
    assert log.items() == []


def test_rolled_back_log_is_filled_again_with_all_items() -> None:
    stream, log = writer(), Log()
    add(stream, "a")
    drain(stream, log)
    earlier = deepcopy(log.history)
    add(stream, "b")
    drain(stream, log)
    # Another publisher saw the rollback, and began a new epoch.
    log.history = earlier.rotated("x5t8m1nb", now=log.now)
    add(stream, "c")
    drain(stream, log)
    assert log.items() == ["a", "b", "c"]
    assert stream.items == [b'"a"', b'"b"', b'"c"']


def test_refill_with_a_lost_answer_is_whole_in_a_new_epoch() -> None:
    stream, log = writer(), Log()
    add(stream, "a")
    drain(stream, log)
    log.lose()
    add(stream, "b")
    log.now += 1
    stream.accept(log.append(stream.next_batch(log.now)))  # it is gone
    log.append(stream.next_batch(log.now))
    log.history = log.history.rotated("x5t8m1nb", now=log.now)
    stream.accept(log.append(stream.batch_again()))
    assert (stream.state, stream.items) == ("open", [b'"a"', b'"b"'])
    assert log.items() == ["a", "b"]


def test_new_epoch_with_the_end_repeats_nothing() -> None:
    stream, log = writer(), Log()
    add(stream, "a")
    drain(stream, log)
    log.history = log.history.rotated("x5t8m1nb", now=log.now)
    add(stream, "b")
    stream.end("completed")
    drain(stream, log)
    assert (stream.state, stream.is_done) == ("completed", True)
    assert log.items() == ["a", "b"]


def test_refill_gives_way_to_another_attempt() -> None:
    stream, log = writer(), Log()
    add(stream, "a")
    drain(stream, log)
    log.lose()
    drain(other := writer("B"), log)
    assert other.state == "open"
    add(stream, "b")
    drain(stream, log)
    assert stream.is_done
    assert log.items() == []


@settings(deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.integers(0, 12_000),
            st.sampled_from(["publish", "lose answer", "lose log", "wait", "lapse"]),
        ),
        max_size=40,
    )
)
def test_log_has_exactly_the_items_in_order(steps: list[Any]) -> None:
    stream, log, count = writer(), Log(), 0
    stream.begin([])
    for step in steps:
        match step:
            case "publish":
                publish(stream, log)
            case "lose answer":
                log.append(stream.next_batch(log.now))
                stream.accept(log.append(stream.batch_again()))
            case "lose log":
                log.lose()
            case "wait":
                log.now += 1
            case "lapse":
                log.now += 60
                log.history.lapse(log.now, 1)
            case size:
                add(stream, f"{count}:" + "x" * size)
                count += 1
    # A lost log is noticed at the next write.
    add(stream, "last")
    stream.end("completed")
    drain(stream, log)
    accepted = [orjson.loads(item) for item in stream.items]
    assert log.items() == accepted
    assert len(accepted) == count + 1 or stream.state == "stopped"
    assert stream.is_done


def _ended(attempt: str) -> Event:
    data = {"stream": "m1", "state": "stopped", "error": None, "by": "42"}
    fields: dict[str, Any] = {"key": KEY, "fold": "end", "attempt": attempt}
    return Event(channel=CHANNEL, event="stream.ended", data=data, **fields)


def test_writer_sleeps_through_the_pace_then_until_an_item() -> None:
    stream, log = writer(), Log()
    publish(stream, log)
    assert stream.look_at(log.now) == 0.05
    add(stream, "a")
    assert stream.look_at(log.now) == stream.wake_at() == 0.05
    log.now = 0.05
    publish(stream, log)
    log.now = 0.2
    assert stream.look_at(log.now) == inf
