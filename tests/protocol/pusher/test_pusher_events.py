"""Data of events between Pusher's text and the log's JSON."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.pusher.events import (
    create_event,
    encode_event,
    encode_frame,
    to_body,
    to_text,
)

BIG = "123456789012345678901234567890"


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ('{"a":1.0}', b'{"a":1.0}'),
        (BIG, BIG.encode()),
        ('{ "b": 1, "a": 2 }', b'{ "b": 1, "a": 2 }'),
        ('{\r\n"a":"\\n"}', b'{  "a":"\\n"}'),
        ("hello", b'"hello"'),
        ("", b'""'),
        ('"quoted"', b'"quoted"'),
        ('"7"', b'"7"'),
        ("1e400", b'"1e400"'),
        ("NaN", b'"NaN"'),
        ('"\\ud800"', rb'"\"\\ud800\""'),
        ("[" * 254 + "]" * 254, b"[" * 254 + b"]" * 254),
        ("[" * 300 + "]" * 300, b'"' + b"[" * 300 + b"]" * 300 + b'"'),
    ],
)
def test_json_keeps_its_bytes_and_other_text_is_a_string(text: str, body: bytes) -> None:
    assert to_body(text) == body


@pytest.mark.parametrize("text", ["hello", "", '{"a":1.0}', BIG, '"7"', '"true"', "1e400", "null"])
def test_text_comes_back_word_for_word(text: str) -> None:
    assert to_text(to_body(text)) == text


def parsed(text: str) -> object:
    """Return what pusher-js passes to its handlers."""
    try:
        return json.loads(text)
    except ValueError:
        return text


TEXTS = st.text() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
).map(json.dumps)


@given(TEXTS)
def test_pusher_js_gets_the_same_value(text: str) -> None:
    body = to_body(text)
    orjson.loads(body)
    assert b"\n" not in body
    assert parsed(to_text(body)) == parsed(text)


@given(st.recursive(st.none() | st.booleans() | st.text(), st.lists))
def test_pusher_js_gets_the_data_of_native_events(data: object) -> None:
    body = orjson.dumps(data)
    text = to_text(body)
    assert parsed(text) == data
    assert orjson.loads(to_body(text)) == data


def test_event_has_the_fields_of_pusher_and_its_position() -> None:
    event = create_event("private-job.7", r"App\Events\Paid", '{"a":1.0}', id="i", source="1.2")
    assert (event.channel, event.event, event.id, event.source) == (
        "job.7",
        r"App\Events\Paid",
        "i",
        "1.2",
    )
    assert json.loads(encode_event(event)) == {
        "event": r"App\Events\Paid",
        "channel": "private-job.7",
        "data": '{"a":1.0}',
    }
    placed = event.with_position(Position("k3v9q2wz", 3, "i"), 1)
    realtime = {"epoch": "k3v9q2wz", "offset": 3, "id": "i"}
    assert json.loads(encode_event(placed))["realtime"] == realtime


def test_event_with_unprintable_name_is_refused() -> None:
    with pytest.raises(InvalidEventError, match="Bad event name"):
        create_event("c", "a\nb", "x", id="i", source=None)


def test_frame_has_json_within_json() -> None:
    assert json.loads(encode_frame("e", {"a": 1}, channel="c")) == {
        "event": "e",
        "channel": "c",
        "data": '{"a":1}',
    }
    assert json.loads(encode_frame("e")) == {"event": "e"}
