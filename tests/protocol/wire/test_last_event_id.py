"""Tests of the ids of streams: positions of several channels on one line."""

import re
from string import ascii_letters, ascii_lowercase, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.model.event import Event
from realtime_bridge.model.names import is_label
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import MAX_OFFSET, Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.wire.last_event_id import (
    ResumePoint,
    before,
    digest_of,
    encode_entry,
    identify,
    join_entries,
    parse_last_event_id,
    point_at,
)

EPOCH = "k3v9q2wz"
CHANNELS = st.text(f"{ascii_letters}{digits}_=@,.;-", min_size=1, max_size=128)
EPOCHS = st.text(f"{ascii_lowercase}{digits}", min_size=8, max_size=8)
LABELS = st.text(min_size=1, max_size=12).filter(is_label)
POSITIONS = st.builds(
    Position, EPOCHS, st.integers(min_value=0, max_value=MAX_OFFSET), st.none() | LABELS
)


@given(st.dictionaries(CHANNELS, POSITIONS, max_size=8))
def test_positions_of_any_channels_survive_the_line(positions: dict[str, Position]) -> None:
    line = join_entries(
        encode_entry(name, point_at(position)) for name, position in positions.items()
    )
    assert re.fullmatch(r"[!-~ ]*", line)
    points = parse_last_event_id(line)
    assert {name: point.position for name, point in points.items()} == positions
    for name, position in positions.items():
        known = digest_of(position.id) if position.id and position.offset else None
        assert points[name].digest == known


@given(st.text())
def test_any_text_is_parsed_or_is_a_value_error(text: str) -> None:
    try:
        points = parse_last_event_id(text)
    except ValueError as error:
        assert len(str(error)) < 1_000  # noqa: PT017 -- the text itself is cut
    else:
        entries = [encode_entry(name, point) for name, point in points.items()]
        assert join_entries(entries) == text


def test_line_has_the_documented_form() -> None:
    entries = [
        encode_entry("job.7", point_at(Position(EPOCH, 124, "018f-a"))),
        encode_entry("user-1,a=b;c@d", point_at(Position("abcdefgh", 0))),
        encode_entry("logs", point_at(Position(EPOCH, 9))),
    ]
    assert join_entries(entries) == (
        f"job.7/{EPOCH}:124~3b6e user-1,a=b;c@d/abcdefgh:0 logs/{EPOCH}:9"
    )


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "k3v9q2wz:124",
        "job.7/k3v9q2wz",
        "job.7/k3v9q2wz:x",
        "job.7/k3v9q2wz:01",
        "job.7/k3v9q2wz:9007199254740992",
        "job.7/K3V9Q2WZ:1",
        "job.7/k3v9q2wz:1~",
        "job.7/k3v9q2wz:1~9f3",
        "job.7/k3v9q2wz:1~9F3A",
        "job.7/k3v9q2wz:1~9f3a ",
        " job.7/k3v9q2wz:1",
        "job.7/k3v9q2wz:1  job.8/k3v9q2wz:1",
        "job.7/k3v9q2wz:1 job.7/k3v9q2wz:2",
        "job 7/k3v9q2wz:1",
        "jöb/k3v9q2wz:1",
        "/k3v9q2wz:1",
        "a/b/k3v9q2wz:1",
        "x" * 129 + "/k3v9q2wz:1",
        "job.7/k3v9q2wz:1\n",
    ],
)
def test_malformed_line_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"Bad|position"):
        parse_last_event_id(text)


def test_empty_line_has_no_positions() -> None:
    assert parse_last_event_id("") == {}


def event(offset: int, name: str) -> Event:
    return Event(
        channel="job.7", event="e", data=1, id=name, position=Position(EPOCH, offset, name)
    )


def point(offset: int, name: str | None) -> ResumePoint:
    return ResumePoint(Position(EPOCH, offset), name and digest_of(name))


def test_one_event_is_read_to_compare_the_digest() -> None:
    assert before(point(5, "a")) == Position(EPOCH, 4)
    assert before(point(5, None)) is None
    assert before(point(0, "a")) is None


TOP = Position(EPOCH, 9, "top")


@pytest.mark.parametrize(
    ("asked", "answer", "expected"),
    [
        (point(5, "a"), Page(events=(event(5, "a"),), top=TOP, more=True), "a"),
        (point(5, "a"), Page(events=(event(5, "other"),), top=TOP, more=True), None),
        (point(9, "top"), Reset(reason="truncated", top=TOP), "top"),
        (point(9, "lost"), Reset(reason="truncated", top=TOP), None),
        (point(5, "a"), Reset(reason="truncated", top=TOP), ""),
        (point(5, "a"), Reset(reason="epoch", top=Position("m1n2p3q4", 5, "b")), ""),
        (point(10, "a"), Page(events=(), top=TOP), ""),
        (point(9, "top"), Page(events=(), top=Position(EPOCH, 9)), ""),
    ],
)
def test_event_of_another_id_is_recognised(
    asked: ResumePoint, answer: Page | Reset, expected: str | None
) -> None:
    position = identify(asked, answer)
    if expected is None:
        assert position is None
    else:
        assert position == asked.position
        assert position.id == (expected or None)
