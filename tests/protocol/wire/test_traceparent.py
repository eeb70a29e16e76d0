"""Trace contexts of events: one of another form is dropped, and never stops its event."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from realtime_bridge import Event
from realtime_bridge.protocol.wire.messages import decode_event, encode_event
from realtime_bridge.protocol.wire.rpc import pack_event, unpack_events
from realtime_bridge.protocol.wire.stored_messages import held_event

FILE = Path(__file__).parents[2] / "vectors" / "traceparent.json"
VECTORS = json.loads(FILE.read_text())["vectors"]
MESSAGE = {"type": "event", "channel": "job.7", "event": "job.step", "id": "e1"}
PLACE = {"epoch": "k3v9q2wz", "offset": 1, "time": 1763836800123}


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_trace_context_is_kept_or_dropped(vector: dict[str, Any]) -> None:
    given = {"traceparent": vector["given"]}
    kept = vector["given"] if vector["kept"] else None
    stored = orjson.dumps(MESSAGE | PLACE | given | {"data": 1})
    (called,) = unpack_events([MESSAGE | given])
    created = Event(channel="job.7", event="job.step", data=1, **given)
    events = (called, created, decode_event(MESSAGE | given), held_event(stored))
    assert {event.traceparent for event in events} == {kept}


@pytest.mark.parametrize("traceparent", [None, VECTORS[0]["given"]])
def test_trace_context_is_in_messages_and_calls(traceparent: str | None) -> None:
    event = Event(channel="job.7", event="job.step", data=1, traceparent=traceparent)
    assert decode_event(orjson.loads(encode_event(event))) == event
    assert unpack_events([orjson.loads(orjson.dumps(pack_event(event)))]) == [event]
    assert (b"traceparent" in encode_event(event)) is (traceparent is not None)
