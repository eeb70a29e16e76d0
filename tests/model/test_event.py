"""Events: checks on creation, encoding, and immutability."""

import copy
import inspect
import math
import pickle
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from realtime_bridge import Event, InvalidEventError, Position
from realtime_bridge.model.event_data import MAX_DATA_BYTES
from realtime_bridge.model.position import MAX_OFFSET

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def event(**fields: Any) -> Event:
    return Event(**{"channel": "job.7", "event": "job.progress", "data": None, **fields})


@given(JSON)
def test_every_json_value_survives(data: Any) -> None:
    assert event(data=data).data == data


def test_later_change_of_the_data_changes_no_event() -> None:
    data = {"percent": 30}
    made = event(data=data)
    data["percent"] = 99
    made.data["percent"] = 99
    assert made.data == {"percent": 30}


def test_event_is_immutable() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        event().channel = "job.8"  # type: ignore[misc]


def test_events_compare_by_value() -> None:
    made = event(data=[1], id="one", key="k", source="c_1")
    assert made == event(data=[1], id="one", key="k", source="c_1")
    assert made != event(data=[2], id="one", key="k", source="c_1")
    assert made == copy.deepcopy(made) == pickle.loads(pickle.dumps(made))
    assert len({made, copy.copy(made)}) == 1


def test_help_shows_the_arguments_of_an_event() -> None:
    shown = str(inspect.signature(Event))
    assert shown.startswith("(*, channel: str, event: str, data: Any, id: str | None = None")


def test_event_without_id_gets_its_own() -> None:
    assert uuid.UUID(event().id).version == 7
    assert event().id != event().id


def test_numbers_that_json_lacks_become_null() -> None:
    assert event(data=[math.nan, math.inf, -math.inf]).data == [None, None, None]


def test_position_of_the_log_changes_no_event() -> None:
    made = event(data={"a": 1}, id="one", key="k", source="c_1")
    placed = made.with_position(Position("k3v9q2wz", 3, "one"), 1_763_836_800_123)
    assert (placed.position, placed.time) == (Position("k3v9q2wz", 3), 1_763_836_800_123)
    assert astuple(placed)[:6] == astuple(made)[:6]
    assert (made.position, made.time) == (None, None)


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "a\x00", "\ud800", 7, None, b"bytes"])
def test_bad_event_name_is_refused_with_a_hint(name: Any) -> None:
    with pytest.raises(InvalidEventError, match=r"^Bad event name .*: use 1 to 200 printable"):
        event(event=name)


@pytest.mark.parametrize("name", ["x", "x" * 200, "job progress", "job.fortschritt-ü", "完了"])
def test_printable_event_name_is_accepted(name: str) -> None:
    assert event(event=name).event == name


@pytest.mark.parametrize("field", ["id", "key", "source"])
@pytest.mark.parametrize("value", ["", "x" * 129, "a\tb", 7])
def test_bad_label_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidEventError, match=f"^Bad {field} .*use a text of 1 to 128 printable"):
        event(**{field: value})


@pytest.mark.parametrize("field", ["id", "key", "source"])
def test_label_may_be_as_long_as_the_limit(field: str) -> None:
    assert getattr(event(**{field: "x" * 128}), field) == "x" * 128


def test_bad_channel_is_refused() -> None:
    with pytest.raises(InvalidEventError, match=r"^Bad channel name 'job 7'"):
        event(channel="job 7")


@pytest.mark.parametrize("data", [{1, 2}, object(), {1: "a"}, b"bytes", 2**64, "\ud800"])
def test_data_that_is_not_json_is_refused_with_advice(data: Any) -> None:
    with pytest.raises(InvalidEventError, match=r"^The data is not JSON: .*Use dict, list, str"):
        event(data=data)


def test_data_that_contains_itself_is_refused() -> None:
    data: list[Any] = []
    data.append(data)
    with pytest.raises(InvalidEventError, match=r"^The data is not JSON"):
        event(data=data)


def test_data_limit_counts_encoded_bytes() -> None:
    assert len(event(data="ü" * (MAX_DATA_BYTES // 2 - 1)).body) == MAX_DATA_BYTES
    with pytest.raises(InvalidEventError) as caught:
        event(data="ü" * (MAX_DATA_BYTES // 2))
    assert str(caught.value) == (
        "The data is 1,048,578 bytes of JSON, over the limit of 1,048,576. "
        "Store it elsewhere and publish its address"
    )


def test_refused_data_is_truncated_in_the_error() -> None:
    with pytest.raises(InvalidEventError) as caught:
        event(id="x" * 100_000)
    assert len(str(caught.value)) < 300


@given(st.from_regex(r"[0-9a-z]{8}", fullmatch=True), st.integers(0, MAX_OFFSET))
def test_position_survives_its_text_and_its_wire_form(epoch: str, offset: int) -> None:
    position = Position(epoch, offset)
    assert Position.parse(str(position)) == position
    assert Position.from_json(position.to_json()) == position


def test_position_has_its_id_on_the_wire_not_in_comparison() -> None:
    position = Position("k3v9q2wz", 124, "one")
    assert position.to_json() == {"epoch": "k3v9q2wz", "offset": 124, "id": "one"}
    assert Position.from_json(position.to_json()).id == "one"
    assert position == Position("k3v9q2wz", 124, "two")
    assert not position != Position("k3v9q2wz", 124)  # noqa: SIM202 -- a struct has its own `!=`
    assert position not in {Position("k3v9q2wz", 125, "one"), Position("k3v9q2wy", 124, "one")}
    assert str(position) == "k3v9q2wz:124"
    assert Position("k3v9q2wz", 124).to_json() == {"epoch": "k3v9q2wz", "offset": 124}


def test_position_differs_from_its_text() -> None:
    position: object = Position("k3v9q2wz", 124)
    assert position != "k3v9q2wz:124"


@pytest.mark.parametrize(
    "text",
    ["", "k3v9q2wz", "k3v9q2wz:", ":1", "k3v9q2wz:-1", "k3v9q2wz:01", "K3V9Q2WZ:1", "k3v9q2wz:1 ",
     "k3v9q2wz:1\n", "k3v9q2w:1", "k3v9q2wz:9007199254740992", "k3v9q2wz:99999999999999999"],
)  # fmt: skip
def test_malformed_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)position"):
        Position.parse(text)


@pytest.mark.parametrize(
    "fields",
    [None, [], "k3v9q2wz:1", {}, {"epoch": "k3v9q2wz"}, {"epoch": "k3v9q2wz", "offset": "1"},
     {"epoch": "k3v9q2wz", "offset": True}, {"epoch": "k3v9q2wz", "offset": 1.0},
     {"epoch": "k3v9q2wz", "offset": -1}, {"epoch": "k3v9q2wz", "offset": 2**53},
     {"epoch": None, "offset": 1}, {"epoch": 7, "offset": 1}, {"offset": 1},
     {"epoch": "k3v9q2wz", "offset": 1, "id": 7}, {"epoch": "k3v9q2wz", "offset": 1, "id": ""},
     {"epoch": "k3v9q2wz", "offset": 1, "id": "x" * 129}],
)  # fmt: skip
def test_malformed_position_on_the_wire_is_refused(fields: Any) -> None:
    with pytest.raises(ValueError, match="a position"):
        Position.from_json(fields)


def test_event_of_a_subclass_keeps_its_class() -> None:
    class Progress(Event, frozen=True, gc=False):
        """An application's own."""

    make: Any = Progress
    assert type(make(channel="job.7", event="job.progress", data=1)) is Progress


@pytest.mark.parametrize(
    ("data", "large"),
    [
        (2**53 - 1, False),
        (-(2**53) + 1, False),
        (2**53, True),
        (-(2**53), True),
        (653247040368672768, True),
        ({"a": [{"id": 2**63 - 1}]}, True),
        (2**64 - 1, True),
        (1e300, False),
        ("653247040368672768", False),
    ],
)
def test_integers_that_browsers_round_are_marked(data: Any, *, large: bool) -> None:
    made = event(data=data)
    assert (made.has_large_integers, made.data) == (large, data)


def test_integer_beyond_64_bits_is_refused_with_a_hint() -> None:
    with pytest.raises(InvalidEventError, match="and text for so large an integer"):
        event(data=[2**53, 2**64])


@pytest.mark.parametrize("channel", ["@realtime", "@realtime.delivery", "@realtime-x"])
def test_internal_channel_is_refused(channel: str) -> None:
    with pytest.raises(InvalidEventError, match="choose another name"):
        event(channel=channel)
