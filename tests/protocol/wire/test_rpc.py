"""Tests of the calls of workers: encoding, decoding, signatures and rejected input."""

import hashlib
import hmac
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.event import MAX_BATCH, Event
from realtime_bridge.model.event_data import MAX_DATA_BYTES
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Receipt
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.wire import messages, rpc
from realtime_bridge.protocol.wire.messages import ProtocolError

EPOCH = "k3v9q2wz"
GOOD = {"channel": "job.7", "event": "job.step", "data": {"percent": 30}}

json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)


def json_round_trip(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))


def test_signature_is_hmac_of_timestamp_and_body() -> None:
    body = b'{"events":[]}'
    expected = hmac.new(b"secret", b"1763836800." + body, hashlib.sha256).hexdigest()
    assert rpc.sign("secret", "1763836800", body) == expected
    assert rpc.signed_headers("secret", "1763836800", body) == {
        "Realtime-Timestamp": "1763836800",
        "Realtime-Signature": expected,
    }


@pytest.mark.parametrize("labels", [{}, {"key": "a1"}, {"source": "c_8f"}])
def test_packed_event_has_its_labels_and_no_others(labels: dict[str, Any]) -> None:
    event = Event(channel="job.7", event="job.step", data=1, id="e1", **labels)
    assert json_round_trip(rpc.pack_event(event)) == {
        "channel": "job.7",
        "event": "job.step",
        "data": 1,
        "id": "e1",
        **labels,
    }


@given(json, st.none() | st.just("a1"), st.none() | st.just("c_8f"))
def test_packed_event_is_unpacked_unchanged(data: Any, key: str | None, source: str | None) -> None:
    event = Event(channel="job.7", event="job.step", data=data, key=key, source=source)
    packed = json_round_trip(rpc.pack_event(event))
    assert ("key" in packed, "source" in packed) == (key is not None, source is not None)
    assert rpc.unpack_events([packed]) == [event]


def test_fallback_ids_are_the_same_for_the_same_call() -> None:
    twice = [rpc.unpack_events([GOOD, GOOD], fallback_id="f00") for _ in range(2)]
    assert [[event.id for event in events] for events in twice] == [["f00-0", "f00-1"]] * 2
    assert rpc.unpack_events([{**GOOD, "id": "mine"}], fallback_id="f00")[0].id == "mine"
    assert rpc.unpack_events([GOOD])[0].id != rpc.unpack_events([GOOD])[0].id


@pytest.mark.parametrize("events", [None, [], {}, "events", 7])
def test_call_without_events_is_rejected(events: object) -> None:
    with pytest.raises(InvalidEventError, match=r'send {"events"'):
        rpc.unpack_events(events)


def test_too_many_events_are_rejected() -> None:
    assert len(rpc.unpack_events([GOOD] * MAX_BATCH)) == MAX_BATCH
    with pytest.raises(InvalidEventError, match="501 events at once are over the limit of 500"):
        rpc.unpack_events([GOOD] * (MAX_BATCH + 1))


@pytest.mark.parametrize(
    ("invalid", "wrong"),
    [
        (None, "is incomplete"),
        ([], "is incomplete"),
        ({}, "is incomplete"),
        ({"channel": "job.7", "data": 1}, "is incomplete"),
        ({**GOOD, "channel": "job 7"}, "Bad channel name"),
        ({**GOOD, "channel": 7}, "Bad channel name"),
        ({**GOOD, "event": ""}, "Bad event name"),
        ({**GOOD, "event": None}, "Bad event name"),
        ({**GOOD, "id": ""}, "Bad id"),
        ({**GOOD, "key": 7}, "Bad key"),
        ({**GOOD, "source": "a\nb"}, "Bad source"),
        ({**GOOD, "data": "x" * MAX_DATA_BYTES}, "over the limit of 1,048,576"),
    ],
)
def test_invalid_event_rejects_the_call_with_its_index(invalid: object, wrong: str) -> None:
    with pytest.raises(InvalidEventError, match=wrong) as caught:
        rpc.unpack_events([GOOD, GOOD, invalid, GOOD])
    assert str(caught.value).startswith("events[2]")


@given(json | st.lists(json, max_size=3))
def test_arbitrary_json_is_rejected_as_events(events: object) -> None:
    with pytest.raises(InvalidEventError):
        rpc.unpack_events(events)


@pytest.mark.parametrize(
    "receipt",
    [
        Receipt(id="e1", position=Position(EPOCH, 5)),
        Receipt(id="e1", position=Position(EPOCH, 5), duplicate=True, pushed=False),
        Receipt(id="e1"),
    ],
)
def test_packed_receipt_is_unpacked_unchanged(receipt: Receipt) -> None:
    assert rpc.unpack_receipt(json_round_trip(rpc.pack_receipt(receipt))) == receipt


def test_packed_page_and_reset_are_unpacked_unchanged() -> None:
    event = Event(channel="job.7", event="job.step", data=1, id="e5", key="a")
    stored = event.with_position(Position(EPOCH, 5, "e5"), 1)
    top = Position(EPOCH, 9, "e9")
    for answer in (
        Page(events=(), top=top),
        Page(events=(stored,), top=top, more=True),
        Reset(reason="truncated", top=top),
    ):
        unpacked = rpc.unpack_answer(json_round_trip(rpc.pack_answer(answer)))
        assert (unpacked, unpacked.top.id) == (answer, "e9")


def test_malformed_position_is_rejected() -> None:
    assert messages.decode_position({"epoch": EPOCH, "offset": 5}) == Position(EPOCH, 5)
    for malformed in (None, {}, "k3v9q2wz:5", {"epoch": EPOCH, "offset": -1}):
        with pytest.raises(ProtocolError, match="position"):
            messages.decode_position(malformed)


def test_malformed_list_of_channels_is_rejected() -> None:
    assert rpc.unpack_channels(["job.7"]) == ["job.7"]
    malformed_lists: list[object] = [None, {}, "job.7", [7], ["job.7", None]]
    for malformed in malformed_lists:
        with pytest.raises(ProtocolError, match="send a list of names"):
            rpc.unpack_channels(malformed)


def test_malformed_leases_are_rejected() -> None:
    lease = Lease("job.7", "job-a1", "A")
    assert rpc.unpack_leases(json_round_trip([rpc.pack_lease(lease)])) == [lease]
    malformed_lists: list[object] = [None, {}, "job.7", [7], [{"channel": "job.7", "key": "a"}]]
    for malformed in malformed_lists:
        with pytest.raises(ProtocolError, match="send a list of objects with channel, key and"):
            rpc.unpack_leases(malformed)
