"""Tests of events for a provider with a size limit: whole, as a stub, or rejected."""

import orjson
import pytest

from realtime_bridge.errors import PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.wire import messages
from realtime_bridge.protocol.wire.stubs import encode_or_stub

EVENT = Event(channel="job.7", event="job.step", data="x" * 500, id="e5")
STORED = EVENT.with_position(Position("k3v9q2wz", 5, "e5"), 1)


def test_event_of_the_limit_is_sent_whole() -> None:
    message = messages.encode_event(STORED)
    assert encode_or_stub(STORED, len(message), "Pusher") == message


def test_event_over_the_limit_is_sent_as_a_stub() -> None:
    limit = len(messages.encode_event(STORED)) - 1
    stub = encode_or_stub(STORED, limit, "Pusher")
    assert orjson.loads(stub) == {
        "type": "stub",
        "channel": "job.7",
        "epoch": "k3v9q2wz",
        "offset": 5,
        "id": "e5",
    }


def test_event_over_the_limit_without_a_log_is_rejected() -> None:
    size = len(messages.encode_event(EVENT))
    with pytest.raises(PublishError, match="set REALTIME_LOG") as caught:
        encode_or_stub(EVENT, 400, "Pusher")
    assert f"job.step on job.7 has {size} bytes, and Pusher accepts 400" in str(caught.value)
