"""State of a job as the log has it, folded from the events of its key."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from realtime_bridge.jobs.update import END_STATES
from realtime_bridge.model.event import Event

CANCELLING, ANSWERED, CANCELLED = "job.cancelling", "job.answered", "job.cancelled"
"""Names of the events by which people act on a job."""

_STATES = frozenset({"queued", "running", "asking", "retrying", "lost"}) | END_STATES
_BY_NAME = {"started": "running", "progress": "running"}


class JobSnapshot(Struct, frozen=True, kw_only=True):
    """State of a job as of one event.

    Args:
        data: data of the last event that was no note and no lapse.
        state: state of the job; `lost` while its worker is silent.
        attempt: name of the run that owns the job; None before its start.
        is_cancelling: whether people asked to cancel it.
        by: the user who asked to cancel it, or cancelled it.
        question: question that waits for an answer.
        answers: answers so far, by the questions' ids, without those that came too late.

    """

    data: dict[str, Any]
    state: str
    attempt: str | None = None
    is_cancelling: bool = False
    by: str | None = None
    question: dict[str, Any] | None = None
    answers: dict[str, Any] = {}

    @property
    def has_ended(self) -> bool:
        """True if only a new run changes the job."""
        return self.state in END_STATES

    def knows_question(self, question: str) -> bool:
        """Return whether a question waits for its answer, or has one."""
        return question in self.answers or (self.question or {}).get("id") == question


def fold_job_group(events: Iterable[Event]) -> JobSnapshot | None:
    """Return the state that the group of a job's key describes; None for an empty group."""
    snapshot = None
    for event in events:
        data = event.data if isinstance(event.data, dict) else {}
        snapshot = _fold(snapshot or JobSnapshot(data={}, state="queued"), event, data)
    return snapshot


def _fold(snapshot: JobSnapshot, event: Event, data: dict[str, Any]) -> JobSnapshot:
    if event.fold == "note":
        return _note(snapshot, event.event, data)
    if event.fold == "lapse":
        return replace(snapshot, state="lost")
    question, attempt = data.get("question"), event.attempt or snapshot.attempt
    snapshot = replace(snapshot, data=data, state=_state(event, data), attempt=attempt)
    if event.fold == "end":
        return replace(snapshot, is_cancelling=False, question=None, by=data.get("by"))
    return replace(snapshot, question=question if isinstance(question, dict) else None)


def _note(snapshot: JobSnapshot, name: str, data: dict[str, Any]) -> JobSnapshot:
    if name == CANCELLING:
        return replace(snapshot, is_cancelling=True, by=data.get("by"))
    answers, question = data.get("answers"), data.get("question")
    if name != ANSWERED or not isinstance(answers, dict):
        return snapshot
    asked = snapshot.question
    if asked and asked.get("id") == question and snapshot.state == "asking":
        return replace(snapshot, answers=answers, state="running", question=None)
    if snapshot.data:
        # The job did not wait any more: this answer came too late, those before it count.
        answers = {name: answer for name, answer in answers.items() if name != question}
    return replace(snapshot, answers=answers)


def _state(event: Event, data: dict[str, Any]) -> str:
    """Return the state by the event's name, or else, as of a row of a table, by its data."""
    name, given = event.event.rpartition(".")[2], data.get("state") or data.get("status")
    state = _BY_NAME.get(name, name)
    if state in _STATES:
        return state
    return given if isinstance(given, str) and given in _STATES else "running"
