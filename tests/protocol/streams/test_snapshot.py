"""State of a stream, by the vectors of both languages: see tests/vectors/README.md."""

import json
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge import Event
from realtime_bridge.model.key_write import KeyWrite
from realtime_bridge.protocol.streams.snapshot import (
    UNKNOWN_STREAM,
    StreamSnapshot,
    fold_group,
    fold_stream,
)

FILE = Path(__file__).parents[2] / "vectors" / "streams.json"
VECTORS = json.loads(FILE.read_text())["vectors"]


def event_of(fields: dict[str, Any]) -> Event:
    """Return a stored event of the stream `m1`."""
    fold, attempt = fields.get("fold"), fields.get("attempt")
    return Event.from_trusted(
        "chat.1",
        fields.get("event", "stream.part"),
        json.dumps(fields["data"]).encode(),
        id=fields["id"],
        key="stream-m1",
        source=None,
        time=None,
        position=None,
        write=KeyWrite(fold, attempt) if fold or attempt else None,
    )


def replay(steps: list[dict[str, Any]]) -> StreamSnapshot:
    snapshot = UNKNOWN_STREAM
    for step in steps:
        if "group" in step:
            snapshot = fold_group(map(event_of, step["group"]), snapshot)
        else:
            snapshot = fold_stream(snapshot, event_of(step["event"]))
        for name, value in step.get("shown", {}).items():
            shown = getattr(snapshot, name)
            assert (list(shown) if name == "items" else shown) == value, f"{name} after {step}"
    return snapshot


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_stream_vector(vector: dict[str, Any]) -> None:
    snapshot = replay(vector["steps"])
    assert "or" not in vector or snapshot == replay(vector["or"])
