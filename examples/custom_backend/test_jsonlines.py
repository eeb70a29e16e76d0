"""Run by `pytest`; the contract is the one that the built-in backends keep too."""

import json
from pathlib import Path

import pytest
from realtime_bridge_jsonlines import JsonLinesBackend

from realtime_bridge import Broadcaster, PublishError
from realtime_bridge.testing import BackendContract


class TestTheContract(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> JsonLinesBackend:
        return JsonLinesBackend(tmp_path / "events.jsonl")


@pytest.mark.asyncio
async def test_an_event_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    async with Broadcaster(backend=JsonLinesBackend(path)) as broadcaster:
        for percent in (30, 60):
            await broadcaster.publish("job.7", "job.progress", {"percent": percent})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["channel"], line["data"]["percent"]) for line in lines] == [
        ("job.7", 30),
        ("job.7", 60),
    ]


@pytest.mark.asyncio
async def test_a_file_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    async with Broadcaster(backend=JsonLinesBackend(tmp_path / "gone" / "x")) as broadcaster:
        with pytest.raises(PublishError, match=r"Cannot write to the file .*gone"):
            await broadcaster.publish("job.7", "job.progress", {"percent": 30})
