"""What to tell of a job, and when: the vectors, and the bounds that they do not show."""

import json
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge.payloads import JobData
from realtime_bridge.protocol.job_life import PENDING_LIMIT, PROGRESS_INTERVAL, JobLife, Telling

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "jobs.json").read_text())[
    "vectors"
]


def due(life: JobLife, now_ms: int) -> list[Telling]:
    """Take all that is due."""
    due = []
    while telling := life.take(now_ms / 1_000, now_ms):
        due.append(telling)
        life.told(telling)
    return due


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_vector(vector: dict[str, Any]) -> None:
    life = JobLife("a1", title="Transcribe call.mp3")
    data = dict.fromkeys(JobData.model_fields) | {"job": "a1", "title": "Transcribe call.mp3"}
    for step in vector["steps"]:
        match step.get("input"):
            case "change":
                life.change(now_ms=step["at"], **step["args"])
            case "move":
                life.move(**step["args"])
        for telling, changes in zip(due(life, step["at"]), step["told"], strict=True):
            data |= {"version": telling.data["version"]} | changes
            assert telling.data | {"event": telling.event} == data, step


def test_what_is_told_is_what_the_model_says() -> None:
    life = JobLife("a1", title="Transcribe call.mp3")
    life.move(0.5, "Aligning", "align", 3.5)
    life.change("retrying", 1_000, error="timeout", retry_at=2_000)
    life.change("failed", 2_000, error="timeout")
    for telling in due(life, 1_000):
        assert JobData.model_validate(telling.data, strict=True).model_dump() == telling.data


def test_progress_is_due_an_interval_after_the_last() -> None:
    life = JobLife("a1", title="A job")
    life.move()
    assert [telling.event for telling in due(life, 10_000)] == ["job.progress"]
    life.move()
    assert life.due(10) == PROGRESS_INTERVAL


def test_nothing_is_due_after_an_end() -> None:
    life = JobLife("a1", title="A job")
    life.change("cancelled", 0)
    due(life, 0)
    life.move()
    assert life.due(100) is None


def test_what_waits_is_bounded_and_the_newest_is_kept() -> None:
    life = JobLife("a1", title="A job")
    for _ in range(PENDING_LIMIT):
        life.change("retrying", 0)
    life.change("failed", 0)
    names = [telling.event for telling in due(life, 0)]
    assert (len(names), names[-1]) == (PENDING_LIMIT, "job.failed")
