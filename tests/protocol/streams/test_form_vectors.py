"""Forms of a stream for chat clients, by the vectors that both languages replay."""

import json
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge.model.event import Event
from realtime_bridge.protocol.streams.ag_ui import AGUIRun
from realtime_bridge.protocol.streams.answer import RESTARTED
from realtime_bridge.protocol.streams.encoder import StreamEncoder
from realtime_bridge.protocol.streams.steps import read_step
from realtime_bridge.protocol.streams.ui_message import UIMessageStream
from tests.protocol.streams.samples import stored

FILE = Path(__file__).parents[2] / "vectors" / "stream_forms.json"
VECTORS = json.loads(FILE.read_text())["vectors"]


def encoder_of(form: str) -> StreamEncoder:
    return UIMessageStream("m1") if form == "ui-message" else AGUIRun("t1", "m1")


def event_of(fields: dict[str, Any], offset: int) -> Event:
    rest = {name: value for name, value in fields.items() if name not in ("event", "data")}
    return stored(fields["event"], fields["data"], offset, **rest)


def sent(encoder: StreamEncoder, event: Event) -> list[Any]:
    """Return the objects that the server sends for an event."""
    step = read_step(event)
    assert step
    lines = encoder.encode(step).decode().splitlines()
    bodies = [line.removeprefix("data: ") for line in lines if line]
    return [json.loads(body) for body in bodies if body != "[DONE]"]


@pytest.mark.parametrize("vector", VECTORS, ids=[f"{v['form']}: {v['name']}" for v in VECTORS])
def test_form_vector(vector: dict[str, Any]) -> None:
    encoder = encoder_of(vector["form"])
    for offset, step in enumerate(vector["steps"], start=1):
        objects = sent(encoder, event_of(step["event"], offset))
        if step.get("restarts"):
            (error,) = objects
            assert RESTARTED in error.values()
        else:
            assert objects == step["gives"]
