"""Tests of events for plain readers, as the HTML specification has readers parse them."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.wire.messages import encode_event
from realtime_bridge.protocol.wire.plain_events import (
    Form,
    encode_id,
    encode_plain_event,
    encode_plain_reset,
    encode_retry,
    split_message,
)
from tests.server.event_source import EventSourceParser, Fired

EPOCH = "k3v9q2wz"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def make(data: Any, name: str = "job.step", **fields: Any) -> Event:
    position = Position(EPOCH, 7, "e1")
    return Event(channel="job.7", event=name, data=data, id="e1", position=position, **fields)


def fire(event: Event, form: Form, line: str = "job.7/k3v9q2wz:7") -> Fired:
    message = encode_event(event)
    name, _, body = split_message(message)
    (fired,) = EventSourceParser().feed(
        encode_plain_event(name, body, message, form=form, line=line)
    )
    return fired


@given(JSON_VALUES)
def test_any_data_arrives_as_json_on_one_line(data: Any) -> None:
    fired = fire(make(data), "json")
    assert orjson.loads(fired.data) == data
    assert "\n" not in fired.data


@given(st.text())
def test_text_arrives_line_by_line(text: str) -> None:
    assert fire(make(text), "text").data == re.sub("\r\n?", "\n", text)


@given(st.text(min_size=1, max_size=64), st.text(max_size=40), st.text(max_size=40))
def test_parts_of_any_message_are_its_own(name: str, key: str, text: str) -> None:
    try:
        event = make({',"data":': text, "data": key}, name, key=f'{key},"data":')
    except InvalidEventError:
        return
    parts = split_message(encode_event(event))
    assert parts == (name, event.position, event.body)
    assert parts.position.id == "e1"


def test_other_data_than_text_stays_json() -> None:
    assert fire(make({"html": "<b>"}), "text").data == '{"html":"<b>"}'
    assert fire(make(None), "text").data == "null"


def test_whole_message_is_one_line() -> None:
    event = make({"percent": 30}, key="k")
    assert orjson.loads(fire(event, "event").data) == orjson.loads(encode_event(event))


@pytest.mark.parametrize(
    ("name", "fired"),
    [
        ("job.progress", "job.progress"),
        ("open", "event.open"),
        ("error", "event.error"),
        ("realtime-reset", "event.realtime-reset"),
        (" two  words", " two  words"),
        (":", ":"),
    ],
)
def test_names_of_the_reader_itself_are_renamed(name: str, fired: str) -> None:
    assert fire(make(1, name), "json").name == fired


def test_event_has_the_documented_bytes() -> None:
    message = encode_event(make({"percent": 30}, "job.progress"))
    name, _, body = split_message(message)
    assert encode_plain_event(name, body, message, form="json", line="job.7/k3v9q2wz:7~9f3a") == (
        b'event: job.progress\nid: job.7/k3v9q2wz:7~9f3a\ndata: {"percent":30}\n\n'
    )
    reset = Reset(reason="truncated", top=Position("m1n2p3q4", 0))
    assert encode_plain_reset("job.7", reset, "job.7/m1n2p3q4:0") == (
        b"event: realtime-reset\nid: job.7/m1n2p3q4:0\n"
        b'data: {"channel":"job.7","reason":"truncated"}\n\n'
    )


def test_message_is_an_event_without_a_name() -> None:
    data = encode_plain_event("message", b"1", b"", form="json", line="")
    assert data == b"data: 1\n\n"
    assert fire(make(1, "message"), "json").name == "message"


def test_event_without_a_line_keeps_the_last_id() -> None:
    parser = EventSourceParser()
    assert parser.feed(encode_id("a/k3v9q2wz:1")) == []
    message = encode_event(make(1))
    (fired,) = parser.feed(encode_plain_event("e", b"1", message, form="json", line=""))
    assert fired.last_id == parser.last_id == "a/k3v9q2wz:1"
    assert encode_id("") == b""


def test_reason_of_a_retry_is_a_comment() -> None:
    parser = EventSourceParser()
    assert parser.feed(encode_retry(2_000, reason="It stops:\ntry again")) == []
    assert (parser.retry, parser.comments) == (2_000, 1)
    assert encode_retry(2_000) == b"retry: 2000\n\n"
