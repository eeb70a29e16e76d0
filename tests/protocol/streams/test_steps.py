"""Tests of the steps that a reader derives from the events of a stream."""

from typing import Any

import pytest

from realtime_bridge.model.position import Position
from realtime_bridge.protocol.streams.steps import (
    PAST_MS,
    Ended,
    Items,
    Lost,
    Started,
    is_over_at,
    is_past,
    read_group,
    read_step,
)
from tests.protocol.streams.samples import ended, lapsed, part, started, stored


def at(offset: int, epoch: str = "k3v9q2wz") -> Position:
    return Position(epoch, offset)


def test_each_event_of_a_stream_is_a_step() -> None:
    assert read_step(started(1)) == Started(at(1), "m1", "A", "text", {"model": "x"})
    assert read_step(part(2, "a", "b")) == Items(at(2), ["a", "b"])
    assert read_step(lapsed(3)) == Lost(at(3))
    assert read_step(ended(4, "failed", "no model")) == Ended(at(4), "failed", "no model", None)
    assert read_step(ended(4, "stopped")) == Ended(at(4), "stopped", None, "42")


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ("note", {"fold": "note"}),
        (["no object"], {}),
        (None, {}),
    ],
)
def test_notes_and_unreadable_starts_are_no_steps(data: Any, fields: dict[str, str]) -> None:
    assert read_step(stored("x", data, 1, **fields)) is None


def test_end_without_readable_data_completes_the_stream() -> None:
    assert read_step(stored("x", 7, 1, fold="end")) == Ended(at(1), "completed", None, None)
    other = {"state": "lost", "error": 7, "by": 7}
    assert read_step(stored("x", other, 1, fold="end")) == Ended(at(1), "completed", None, None)


def test_group_has_the_steps_of_its_events() -> None:
    steps = read_group([started(1), part(9, "a", "b"), stored("x", 1, 9, fold="note"), ended(10)])
    assert [type(step) for step in steps] == [Started, Items, Ended]
    assert isinstance(steps[0], Started)
    assert not steps[0].trimmed
    assert read_group([]) == []


def test_group_without_its_items_is_trimmed() -> None:
    (start, _) = read_group([started(1), ended(10)])
    assert isinstance(start, Started)
    assert start.trimmed


def test_stream_is_over_at_its_end_and_after_it() -> None:
    group = [started(1), part(3, "a"), ended(4)]
    assert [is_over_at(group, at(offset)) for offset in (3, 4, 5)] == [False, True, True]
    assert not is_over_at(group, at(9, "zzzzzzzz"))
    assert not is_over_at([started(1), lapsed(2)], at(2))
    assert not is_over_at([], at(9))


@pytest.mark.parametrize("last", [ended(7), lapsed(7)])
def test_end_or_silence_is_past_after_a_minute(last: Any) -> None:
    group = [started(1), last]
    assert not is_past(group, 7_000 + PAST_MS)
    assert is_past(group, 7_001 + PAST_MS)


def test_open_and_unknown_streams_are_not_past() -> None:
    assert not is_past([], 10**13)
    assert not is_past([started(1), part(2, "a")], 10**13)
