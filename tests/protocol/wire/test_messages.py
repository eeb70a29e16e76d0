"""Tests of the messages: encoding, decoding, and rejected input of clients."""

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import MAX_OFFSET, Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.wire import messages
from realtime_bridge.protocol.wire.client_messages import (
    Connect,
    Ping,
    Renew,
    Subscribe,
    Unsubscribe,
    decode_client,
)
from realtime_bridge.protocol.wire.messages import (
    ProtocolError,
    decode_event,
    decode_object,
    decode_position,
)

EPOCH = "k3v9q2wz"
LIMIT = 64 * 1024

json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


def positioned_event(data: Any = None, offset: int = 1, **fields: Any) -> Event:
    event = Event(channel="job.7", event="job.step", data=data, id=f"e{offset}", **fields)
    return event.with_position(Position(EPOCH, offset, event.id), 1_763_836_800_123)


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ('{"type":"connect","token":"t","nonce":"n","version":1}', Connect("t", "n")),
        ('{"type":"connect","token":""}', Connect("", None)),
        ('{"type":"subscribe","channel":"job.7"}', Subscribe("job.7", None)),
        ('{"type":"subscribe","channel":"job.7","position":null}', Subscribe("job.7", None)),
        (
            '{"type":"subscribe","channel":"job.7","position":{"epoch":"k3v9q2wz","offset":5}}',
            Subscribe("job.7", Position(EPOCH, 5)),
        ),
        ('{"type":"unsubscribe","channel":"job.7"}', Unsubscribe(("job.7",))),
        ('{"type":"unsubscribe","channels":["job.7","job.8"]}', Unsubscribe(("job.7", "job.8"))),
        ('{"type":"ping"}', Ping(None)),
        ('{"type":"ping","nonce":"n","more":[1]}', Ping("n")),
        ('{"type":"token","token":"t"}', Renew("t", None)),
        ('{"type":"token","token":"t","nonce":"n"}', Renew("t", "n")),
    ],
)
def test_each_client_frame_is_decoded(text: str, frame: object) -> None:
    assert decode_client(text, LIMIT) == frame


def test_position_id_is_decoded() -> None:
    position = {"epoch": EPOCH, "offset": 5, "id": "e5"}
    frame = decode_client(
        messages.encode("subscribe", channel="job.7", position=position).decode(), LIMIT
    )
    assert isinstance(frame, Subscribe)
    assert frame.position is not None
    assert frame.position.id == "e5"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "not JSON"),
        ("nonsense", "not JSON"),
        ('{"type":"ping"', "not JSON"),
        ('{"type":NaN}', "not JSON"),
        ('"\\ud800"', "not JSON"),
        ("[" * 5_000, "not JSON"),
        (b"\xff\xfe", "binary messages"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ("{}", "no type"),
        ('{"type":null}', "no type"),
        ('{"type":["ping"]}', "no type"),
        ('{"type":' + "[" * 1_000 + "]" * 1_000 + "}", "no type"),
        ('{"type":"hello"}', "unknown frame type 'hello'"),
        ('{"type":"event"}', "unknown frame type"),
        ('{"type":"connect"}', "connect: token"),
        ('{"type":"connect","token":7}', "connect: token"),
        ('{"type":"connect","token":"t","nonce":7}', "connect: nonce"),
        (f'{{"type":"connect","token":"{"x" * 16_385}"}}', "connect: token"),
        (f'{{"type":"ping","nonce":"{"x" * 65}"}}', "ping: nonce"),
        ('{"type":"subscribe"}', "subscribe: channel"),
        ('{"type":"subscribe","channel":["job.7"]}', "subscribe: channel"),
        ('{"type":"unsubscribe","channel":null}', "unsubscribe: channel"),
        ('{"type":"unsubscribe","channels":"job.7"}', "unsubscribe: channels"),
        ('{"type":"unsubscribe","channels":[7]}', "unsubscribe: channels"),
        ('{"type":"token"}', "token: token"),
    ],
)
def test_malformed_frame_is_rejected_with_its_fault(text: str | bytes, wrong: str) -> None:
    with pytest.raises(ProtocolError, match=wrong):
        decode_client(text, LIMIT)


@pytest.mark.parametrize(
    ("position", "wrong"),
    [("k3v9q2wz:5", "a position is"), ({}, "epoch"), ({"epoch": EPOCH}, "offset")],
)
def test_malformed_position_is_a_problem_of_its_channel(position: Any, wrong: str) -> None:
    text = messages.encode("subscribe", channel="job.7", position=position).decode()
    frame = decode_client(text, LIMIT)
    assert isinstance(frame, Subscribe)
    assert (frame.channel, frame.position) == ("job.7", None)
    assert wrong in str(frame.problem)


@pytest.mark.parametrize(
    "fields",
    [
        {"epoch": "K3V9Q2WZ", "offset": 1},
        {"epoch": "k3v9q2w", "offset": 1},
        {"epoch": 12345678, "offset": 1},
        {"epoch": EPOCH, "offset": -1},
        {"epoch": EPOCH, "offset": 1.0},
        {"epoch": EPOCH, "offset": True},
        {"epoch": EPOCH, "offset": "1"},
        {"epoch": EPOCH, "offset": MAX_OFFSET + 1},
        {"epoch": EPOCH, "offset": 1, "id": ""},
        {"epoch": EPOCH, "offset": 1, "id": 7},
        {"epoch": EPOCH, "offset": 1, "id": "x" * 129},
        {"epoch": EPOCH, "offset": 1, "id": "a\nb"},
        [EPOCH, 1],
        None,
    ],
)
def test_malformed_position_is_rejected(fields: object) -> None:
    with pytest.raises(ProtocolError, match="position"):
        decode_position(fields)


@given(st.text() | st.binary() | json.map(orjson.dumps))
@example('{"type":' + "[" * 1_020 + "]" * 1_020 + "}")
def test_arbitrary_text_is_a_frame_or_a_protocol_error(text: str | bytes) -> None:
    try:
        frame = decode_client(text, LIMIT)
    except ProtocolError:
        return
    assert isinstance(frame, Connect | Subscribe | Unsubscribe | Ping | Renew)


@given(
    st.sampled_from(["connect", "subscribe", "unsubscribe", "ping", "token"]),
    st.dictionaries(st.sampled_from(["token", "nonce", "channel", "position"]), json),
)
def test_arbitrary_fields_are_decoded_or_rejected(kind: str, fields: dict[str, Any]) -> None:
    with suppress(ProtocolError):
        decode_client(orjson.dumps({"type": kind, **fields}).decode(), LIMIT)


@pytest.mark.parametrize(
    "change",
    [
        {"channel": "job 7"},
        {"id": ""},
        {"offset": -1},
        {"epoch": "short"},
        {"epoch": None},
    ],
)
def test_event_with_an_invalid_field_is_rejected(change: dict[str, Any]) -> None:
    fields = decode_object(messages.encode_event(positioned_event()))
    assert decode_event(fields) == positioned_event()
    with pytest.raises(ProtocolError, match="event is malformed"):
        decode_event(fields | change)


@pytest.mark.parametrize("name", ["channel", "event", "id", "offset"])
def test_event_without_a_required_field_is_rejected(name: str) -> None:
    fields = decode_object(messages.encode_event(positioned_event()))
    del fields[name]
    with pytest.raises(ProtocolError, match=f"event is malformed: '{name}'"):
        decode_event(fields)


@given(json.filter(lambda fields: isinstance(fields, dict)))
def test_arbitrary_object_is_rejected_as_event(
    fields: dict[str, Any],
) -> None:
    with pytest.raises(ProtocolError, match="event is malformed"):
        decode_event(fields)


def test_encoded_frame_omits_none_fields() -> None:
    assert messages.encode("pong", nonce=None) == b'{"type":"pong"}'


@given(json, st.integers(1, MAX_OFFSET))
def test_encoded_event_is_decoded_unchanged(data: Any, offset: int) -> None:
    event = positioned_event(data, offset, key="a1", source="c_8f")
    decoded = decode_event(decode_object(messages.encode_event(event)))
    assert (decoded, decoded.position and decoded.position.id) == (event, event.id)


def test_event_frame_has_the_documented_form() -> None:
    assert messages.encode_event(
        positioned_event({"percent": 30}, 124, key="a1", source="c_8f")
    ) == (
        b'{"type":"event","channel":"job.7","event":"job.step","id":"e124","epoch":"k3v9q2wz",'
        b'"offset":124,"time":1763836800123,"key":"a1","source":"c_8f","data":{"percent":30}}'
    )


def test_event_without_position_has_no_epoch_and_offset() -> None:
    event = Event(channel="job.7", event="job.step", data=None, id="one").with_position(None, 5)
    fields = decode_object(messages.encode_event(event))
    assert "epoch" not in fields
    assert "offset" not in fields
    assert fields["data"] is None
    assert decode_event(fields) == event


def test_subscribed_frame_has_the_position_after_the_page() -> None:
    events = (positioned_event("a", 4), positioned_event("b", 5))
    whole = Page(events=events, top=Position(EPOCH, 5, "e5"))
    first = Page(events=events, top=Position(EPOCH, 9, "e9"), more=True)
    for page in (whole, first):
        assert messages.reached(page) == Position(EPOCH, 5)
        frame = decode_object(messages.encode_subscribed("job.7", page, recovered=True)[1])
        events_sent = frame.pop("events")
        assert [fields["data"] for fields in events_sent] == ["a", "b"]
        assert frame == {
            "type": "subscribed",
            "channel": "job.7",
            "epoch": EPOCH,
            "offset": 5,
            "id": "e5",
            "recovered": True,
            "more": page.more,
        }


def test_page_of_a_poll_has_the_position_after_it() -> None:
    event = positioned_event("a", 4)
    page = Page(events=(event,), top=Position(EPOCH, 9, "e9"), more=True)
    assert orjson.loads(orjson.dumps(messages.encode_page(page))) == {
        "events": [orjson.loads(messages.encode_event(event))],
        "position": {"epoch": EPOCH, "offset": 4, "id": "e4"},
        "more": True,
    }


def test_stub_frame_has_channel_and_position() -> None:
    assert decode_object(messages.encode_stub("job.7", Position(EPOCH, 9, "e9"))) == {
        "type": "stub",
        "channel": "job.7",
        "epoch": EPOCH,
        "offset": 9,
        "id": "e9",
    }


def test_empty_page_reaches_the_top() -> None:
    top = Position(EPOCH, 9, "e9")
    assert messages.reached(Page(events=(), top=top, more=True)) == top


def test_reset_frame_has_reason_and_position() -> None:
    reset = Reset(reason="truncated", top=Position(EPOCH, 9, "e9"))
    assert decode_object(messages.encode_reset("job.7", reset)) == {
        "type": "reset",
        "channel": "job.7",
        "reason": "truncated",
        "epoch": EPOCH,
        "offset": 9,
        "id": "e9",
    }
