"""Updates of a job and their times: the vectors, and bounds beyond them."""

import json
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge.jobs.payloads import JobData
from realtime_bridge.jobs.state import PENDING_LIMIT, PROGRESS_INTERVAL, JobState
from realtime_bridge.jobs.update import JobUpdate

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "jobs.json").read_text())[
    "vectors"
]


def due(state: JobState, now_ms: int) -> list[JobUpdate]:
    """Take all that is due."""
    due = []
    while update := state.next_update(now_ms / 1_000, now_ms):
        due.append(update)
        state.remove(update)
    return due


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_vector(vector: dict[str, Any]) -> None:
    state = JobState("a1", title="Transcribe call.mp3", attempt="A")
    data = dict.fromkeys(JobData.model_fields) | {"job": "a1", "title": "Transcribe call.mp3"}
    for step in vector["steps"]:
        match step.get("input"):
            case "change":
                state.change(now_ms=step["at"], **step["args"])
            case "set_progress":
                state.set_progress(**step["args"])
            case "process":
                state = JobState("a1", title="Transcribe call.mp3", attempt="A")
        for update, changes in zip(due(state, step["at"]), step["updates"], strict=True):
            data |= {"version": update.data["version"]} | changes
            assert update.data | {"event": update.event} == data, step


def test_updates_match_the_model() -> None:
    state = JobState("a1", title="Transcribe call.mp3", attempt="A")
    state.set_progress(0.5, "Aligning", "align", 3.5)
    state.change("retrying", 1_000, error="timeout", retry_at=2_000)
    state.change("failed", 2_000, error="timeout")
    for update in due(state, 1_000):
        assert JobData.model_validate(update.data, strict=True).model_dump() == update.data


def test_progress_is_due_an_interval_after_the_last() -> None:
    state = JobState("a1", title="A job", attempt="A")
    state.set_progress()
    assert [update.event for update in due(state, 10_000)] == ["job.progress"]
    state.set_progress()
    assert state.seconds_until_due(10) == PROGRESS_INTERVAL


def test_no_update_is_due_after_an_end_state() -> None:
    state = JobState("a1", title="A job", attempt="A")
    state.change("cancelled", 0)
    due(state, 0)
    state.set_progress()
    assert state.seconds_until_due(100) is None


def test_pending_updates_are_bounded_and_keep_the_newest() -> None:
    state = JobState("a1", title="A job", attempt="A")
    for _ in range(PENDING_LIMIT):
        state.change("retrying", 0)
    state.change("failed", 0)
    names = [update.event for update in due(state, 0)]
    assert (len(names), names[-1]) == (PENDING_LIMIT, "job.failed")


def test_removal_of_a_dropped_update_keeps_the_next() -> None:
    state = JobState("a1", title="A job", attempt="A")
    state.change("started", 0)
    dropped = state.next_update(0, 0)
    assert dropped is not None
    for _ in range(PENDING_LIMIT):
        state.change("retrying", 0)
    state.remove(dropped)
    assert len(due(state, 0)) == PENDING_LIMIT


def test_removal_from_discarded_updates_does_nothing() -> None:
    state = JobState("a1", title="A job", attempt="A")
    state.change("started", 0)
    update = state.next_update(0, 0)
    assert update is not None
    state.discard_pending()
    state.remove(update)
    assert state.next_update(100, 100_000) is None
