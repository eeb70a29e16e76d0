"""Reader of a stream: each item comes once, whatever is loaded again."""

from typing import Any

from realtime_bridge import Event, Position
from realtime_bridge.protocol.streams.reader_state import ReaderState


def event(event_id: str, data: Any, *, fold: Any = None, attempt: str = "A") -> Event:
    """Return an event of the log; its offset counts for no reader."""
    return Event(
        channel="chat.1",
        event="e",
        data=data,
        id=event_id,
        key="stream-m1",
        fold=fold,
        attempt=attempt,
        position=Position("k3v9q2wz", 1),
    )


def start(event_id: str, attempt: str = "A") -> Event:
    return event(event_id, {"stream": "m1", "format": "text", "meta": None}, attempt=attempt)


def part(event_id: str, *items: str, attempt: str = "A") -> Event:
    return event(event_id, list(items), fold="append", attempt=attempt)


def end(event_id: str) -> Event:
    return event(event_id, {"state": "completed"}, fold="end")


def reader_of(*group: Event) -> ReaderState:
    """Return a reader that loaded this group, and took its items."""
    reader = ReaderState()
    reader.load(group)
    reader.take()
    return reader


def test_items_of_a_group_and_its_tail_come_once() -> None:
    reader = ReaderState()
    reader.load([start("n-1"), part("n-3", "a", "b")])
    assert reader.take() == ("a", "b")
    assert reader.take() == ()
    reader.handle(part("n-4", "c"))
    assert reader.take() == ("c",)
    assert not reader.is_over
    reader.handle(end("n-5"))
    assert reader.is_over
    assert not reader.take_restart()


def test_group_after_a_reset_gives_the_missing_items_alone() -> None:
    reader = reader_of(start("n-1"), part("n-3", "a", "b"))
    reader.load([])
    reader.load([start("n-1"), part("n-4", "a", "b", "c")])
    assert reader.take() == ("c",)
    assert not reader.take_restart()


def test_refilled_stream_gives_the_new_items_alone() -> None:
    reader = reader_of(start("n-1"), part("n-3", "a", "b"))
    reader.handle(start("n-4"))
    reader.handle(part("n-5", "a"))
    assert reader.take() == ()
    reader.handle(part("n-6", "b", "c"))
    assert reader.take() == ("c",)
    assert not reader.take_restart()


def test_other_attempt_begins_again() -> None:
    reader = reader_of(start("n-1"), part("n-2", "a", "b"))
    reader.handle(start("k-1", "B"))
    reader.handle(part("k-2", "x", attempt="B"))
    assert reader.take() == ("x",)
    assert reader.take_restart()
    assert not reader.take_restart()


def test_other_writer_with_the_same_attempt_begins_again() -> None:
    reader = reader_of(start("n-1"), part("n-2", "a", "b"))
    reader.load([start("k-1"), part("k-2", "x", "y", "z")])
    assert reader.take() == ("x", "y", "z")
    assert reader.take_restart()


def test_ids_of_a_foreign_writer_are_no_restart() -> None:
    reader = reader_of(start("5c0-ab"), part("7f1-cd", "a"))
    reader.load([start("e2d-ef"), part("a09-bc", "a", "b")])
    assert reader.take() == ("b",)
    assert not reader.take_restart()


def test_items_after_trimmed_ones_are_given() -> None:
    reader = reader_of(start("n-1"), part("n-4", "a", "b", "c"))
    reader.load([start("n-1")])
    assert reader.take() == ()
    reader.handle(part("n-9", "late"))
    assert reader.take() == ("late",)
    assert reader.snapshot.trimmed


def test_trimmed_group_gives_what_follows_it() -> None:
    reader = reader_of(start("n-1"), part("n-4", "a", "b", "c"))
    lapse = event("A-lapse-7", {"state": "lost"}, fold="lapse")
    reader.load([start("n-1"), event("n-9", {}, fold="end"), lapse])
    assert reader.take() == ()
    assert reader.snapshot.state == "lost"
    reader.handle(part("n-10", "late"))
    assert reader.take() == ("late",)
