"""Events created in C: the same fields, checks and errors as in Python."""

import sys
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_bridge.compiled import in_python
from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.event import Event, create_event
from realtime_bridge.model.ids import event_id
from realtime_bridge.model.position import Position

TEXTS = st.text(max_size=8) | st.text(st.characters(max_codepoint=127), max_size=8)
CHANNELS = st.sampled_from(
    [
        "job.7", "@realtime.x", "private-a", "presence-a", "presence", "A-Z_=@,.;-0", "",
        "a b", "a\0",
        "x" * 128, "x" * 129, "@realtime", "user-7", "é", 7, None,
    ]
) | TEXTS  # fmt: skip
NAMES = st.sampled_from(["job.step", "x" * 200, "x" * 201, 7, None, "a\x7f", "a\n"]) | TEXTS
LABELS = st.sampled_from([None, "x" * 128, "x" * 129, "", 7, "a\x1f"]) | TEXTS
DATA = st.sampled_from(
    [None, 1, {"a": [1.5, "é"]}, 2**53 + 1, 2**70, float("nan"), {1: 2}, object(), b"x", "\ud800"]
)


def outcome(create: Any, arguments: tuple[object, ...]) -> object:
    try:
        event = create(*arguments)
    except InvalidEventError as error:
        return str(error)
    assert type(event) is Event
    return {name: getattr(event, name) for name in Event.__struct_fields__}


@settings(max_examples=300, deadline=None)
@given(st.tuples(CHANNELS, NAMES, DATA, LABELS.map(lambda label: label or "id"), LABELS, LABELS))
def test_event_is_the_same_from_c_and_from_python(arguments: tuple[object, ...]) -> None:
    assert outcome(create_event, arguments) == outcome(in_python["create_event"], arguments)


@pytest.mark.parametrize("place", [(None, None), (7, None), (7, Position("k3v9q2wz", 1))])
def test_event_of_a_log_is_the_same_from_c_and_from_python(place: tuple[object, ...]) -> None:
    arguments = ("job.7", "job.step", {"a": 1}, "id", None, None, *place)
    assert outcome(create_event, arguments) == outcome(in_python["create_event"], arguments)


def test_large_data_is_refused_as_by_python() -> None:
    arguments = ("job.7", "job.step", "x" * (1024 * 1024), "id", None, None)
    assert outcome(create_event, arguments) == outcome(in_python["create_event"], arguments)


def test_creation_is_compiled_here() -> None:
    assert create_event is not in_python["create_event"]
    assert event_id is not in_python["event_id"]


def test_ids_from_c_and_from_python_are_in_one_order() -> None:
    ids = [make() for _ in range(600) for make in (event_id, in_python["event_id"])]
    assert len(set(ids)) == len(ids)
    for earlier, later in pairwise(ids):
        assert earlier[:13] <= later[:13]
        assert len(later) == 36
        assert later[14] == "7"


def test_events_leave_no_memory() -> None:
    def create() -> None:
        create_event("job.7", "job.step", {"a": 1}, None, "key", "source")

    create()
    before = sys.getallocatedblocks()
    for _ in range(2_560):  # ten times as many as ids of one draw
        create()
    assert sys.getallocatedblocks() - before < 600
