"""Contract of every backend, and the format of the lines; run by `pytest`."""

import json
from pathlib import Path

import pytest
from realtime_bridge_jsonlines import JsonLinesBackend

from realtime_bridge import Broadcaster, PublishError
from realtime_bridge.testing import BackendContract


class TestContract(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> JsonLinesBackend:
        return JsonLinesBackend(tmp_path / "events.jsonl")


@pytest.mark.asyncio
async def test_each_event_is_a_line(tmp_path: Path) -> None:
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
async def test_unwritable_file_is_named_in_the_error(tmp_path: Path) -> None:
    async with Broadcaster(backend=JsonLinesBackend(tmp_path / "missing" / "x")) as broadcaster:
        with pytest.raises(PublishError, match=r"Cannot write to the file .*missing"):
            await broadcaster.publish("job.7", "job.progress", {"percent": 30})
