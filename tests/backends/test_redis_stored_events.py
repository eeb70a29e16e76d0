"""Events as Redis stores them: the two halves of a message, and messages of other programs."""

from typing import Any

import orjson
import pytest

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.wire.messages import ProtocolError, encode_event
from realtime_bridge.protocol.wire.stored_messages import held_event
from realtime_bridge.testing.contracts.samples import HARD_DATA
from realtime_bridge_backends.redis.stored_events import halves

EPOCH = "k3v9q2wz"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("data", HARD_DATA.values(), ids=HARD_DATA)
@pytest.mark.parametrize(
    "more", [{}, {"key": "ключ:1", "source": "c_1"}, {"source": "c_1", "traceparent": TRACEPARENT}]
)
def test_halves_around_a_position_are_the_event_frame(data: object, more: dict[str, Any]) -> None:
    event = Event(channel="job.7", event="job.données", data=data, id='an "id"', **more)
    head, tail = halves(event)
    position = b',"epoch":"k3v9q2wz","offset":124,"time":1763836800123'
    positioned = event.with_position(Position("k3v9q2wz", 124), 1763836800123)
    assert head + position + tail == encode_event(positioned)
    assert held_event(head + position + tail) == positioned


HELD = {
    "type": "event",
    "channel": "job.7",
    "event": "job.step",
    "id": "e1",
    "epoch": EPOCH,
    "offset": 1,
    "time": 1763836800123,
    "data": {"step": 1},
}


@pytest.mark.parametrize(
    "changes",
    [
        {"channel": "no channel"},
        {"channel": 7},
        {"event": "a\nb"},
        {"event": ["list"]},
        {"id": None},
        {"id": "order\t7"},
        {"key": ""},
        {"source": 1},
        {"epoch": "EPOCH"},
        {"offset": -1},
        {"offset": 1.5},
        {"time": "now"},
    ],
    ids=str,
)
def test_held_event_with_an_odd_field_is_rejected(changes: dict[str, object]) -> None:
    assert held_event(orjson.dumps(HELD)).data == {"step": 1}
    with pytest.raises(ProtocolError, match="malformed"):
        held_event(orjson.dumps(HELD | changes))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"hello",
        b"[]",
        b"{}",
        b'{"data":1}',
        orjson.dumps(HELD)[:-1],
        orjson.dumps(HELD) + b"x",
    ],
)
def test_held_event_that_is_no_frame_is_rejected(frame: bytes) -> None:
    with pytest.raises(ProtocolError, match="malformed"):
        held_event(frame)


def test_held_event_has_its_newlines_replaced() -> None:
    frame = orjson.dumps(HELD).replace(b'{"step":1}', b'{\r\n"step":\n"a\\nb"}')
    event = held_event(frame)
    assert event.body == b'{  "step": "a\\nb"}'
