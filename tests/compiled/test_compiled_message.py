"""Messages of events from C, which are the same bytes as those from Python."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_bridge.compiled import in_python
from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import KeyWrite
from realtime_bridge.model.position import MAX_OFFSET, Position
from realtime_bridge.protocol.wire.messages import encode_event, encode_events

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text(
    st.characters(max_codepoint=127), min_size=1, max_size=12
)
POSITIONS = st.builds(
    Position, st.text("abc019", min_size=8, max_size=8), st.integers(0, MAX_OFFSET)
)
WRITES = st.builds(KeyWrite, st.sampled_from([None, "append", "end"]), st.none() | TEXTS)
BODIES = st.binary(max_size=10) | st.integers(120, 70_000).map(lambda size: b'"%b"' % (b"x" * size))


@st.composite
def events(draw: st.DrawFn) -> Event:
    return Event.from_trusted(
        draw(TEXTS),
        draw(TEXTS),
        draw(BODIES),
        id=draw(TEXTS),
        key=draw(st.none() | TEXTS),
        source=draw(st.none() | TEXTS),
        time=draw(st.none() | st.integers(-(2**62), 2**62)),
        position=draw(st.none() | POSITIONS),
        write=draw(st.none() | WRITES),
        traceparent=draw(st.none() | TEXTS),
    )


@settings(max_examples=200, deadline=None)
@given(events())
def test_message_is_the_same_from_c_and_from_python(event: Event) -> None:
    assert encode_event(event) == in_python["encode_event"](event)


@settings(max_examples=100, deadline=None)
@given(st.lists(events(), max_size=4))
def test_list_is_the_same_from_c_and_from_python(page: list[Event]) -> None:
    expected = b"[%b]" % b",".join(map(in_python["encode_event"], page))
    assert (
        encode_events(page) == encode_events(tuple(page)) == encode_events(iter(page)) == expected
    )
    assert in_python["encode_events"](page) == expected


def test_encoder_is_compiled_here() -> None:
    assert encode_event is not in_python["encode_event"]
    assert encode_events is not in_python["encode_events"]


def test_object_of_another_class_is_left_to_python() -> None:
    with pytest.raises(AttributeError):
        encode_event("text")  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        encode_events(["text"])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        encode_events(7)  # type: ignore[arg-type]


def test_messages_of_many_events_leave_no_memory() -> None:
    plain = Event(channel="job.7", event="job.step", data=1)
    other = Event(channel="job.7", event="job.schön", data=1)
    encode_event(plain), encode_event(other)
    before = sys.getallocatedblocks()
    for _ in range(2_000):
        encode_event(plain)
        encode_event(other)
        encode_events([plain, other])
    assert sys.getallocatedblocks() - before < 500
