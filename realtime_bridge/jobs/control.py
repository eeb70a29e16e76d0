"""Decisions on what people ask of a job: to cancel it, or to take an answer."""

import hashlib
from typing import Any, Literal

import orjson
from msgspec import Struct

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.jobs.snapshot import ANSWERED, CANCELLED, CANCELLING, JobSnapshot
from realtime_bridge.jobs.update import job_key
from realtime_bridge.jobs.values import SHORT_TEXT_BYTES, to_text
from realtime_bridge.model.event import Event

MAX_ANSWER_BYTES = 8 * 1024
"""Longest answer, in bytes of JSON."""

MAX_ANSWERS_BYTES = 64 * 1024
"""Bytes of JSON of the newest answers that a job keeps: each answer publishes them all."""

ReplyCode = Literal[
    "cancelling",
    "cancelled",
    "accepted",
    "unknown_job",
    "ended",
    "not_cancellable",
    "answered",
    "no_question",
    "not_a_choice",
]


class JobReply(Struct, frozen=True, kw_only=True):
    """Reply to a request that concerns a job.

    Args:
        accepted: whether the log has the request.
        code: `cancelling`, `cancelled` or, for an answer, `accepted`; else the reason of the
            refusal: `unknown_job`, `ended`, `not_cancellable`, `answered` by an earlier answer,
            `no_question`, `not_a_choice`.
        state: state of the job; None for an unknown one.

    """

    accepted: bool
    code: ReplyCode
    state: str | None


class Request(Struct, frozen=True, kw_only=True):
    """Event that a request publishes, and the reply once the log has it."""

    event: Event
    reply: JobReply


def decide_cancel(
    channel: str,
    job: str,
    snapshot: JobSnapshot | None,
    *,
    by: str | None,
    reason: str | None,
    is_child: bool = False,
) -> Request | JobReply:
    """Return the event that cancels a job, or the reply that refuses it.

    Args:
        channel: channel of the job.
        job: id of the job.
        snapshot: state of the job.
        by: the user.
        reason: text for people.
        is_child: whether its parent is cancelled: then the job is too, whatever it permits.

    """
    if snapshot is None:
        return _refusal("unknown_job", None)
    if snapshot.has_ended:
        return _refusal("ended", snapshot)
    if not (is_child or snapshot.data.get("cancellable")):
        return _refusal("not_cancellable", snapshot)
    if snapshot.state == "lost":
        return _end(channel, job, snapshot, by)
    data = {"job": job, "by": by, "reason": to_text(reason, SHORT_TEXT_BYTES)}
    note_id = f"cancel-{_digest(job, snapshot.attempt or 'queued')}"
    return Request(
        event=_note(channel, job, CANCELLING, data, note_id),
        reply=JobReply(accepted=True, code="cancelling", state="cancelling"),
    )


def decide_answer(
    channel: str,
    job: str,
    snapshot: JobSnapshot | None,
    *,
    question: str,
    value: Any,
    by: str | None,
) -> Request | JobReply:
    """Return the event that answers a question of a job, or the reply that refuses it.

    Raises:
        InvalidEventError: the answer is not JSON, or over 8 KiB of it.

    """
    check_answer(value)
    if snapshot is None:
        return _refusal("unknown_job", None)
    if snapshot.has_ended:
        return _refusal("ended", snapshot)
    asked = snapshot.question if snapshot.state == "asking" else None
    if asked is None or asked.get("id") != question:
        is_answered = question in snapshot.answers
        return _refusal("answered" if is_answered else "no_question", snapshot)
    choices = asked.get("choices")
    if isinstance(choices, list) and value not in choices:
        return _refusal("not_a_choice", snapshot)
    answers = _newest({**snapshot.answers, question: value})
    data = {"job": job, "question": question, "value": value, "by": by, "answers": answers}
    note_id = f"answer-{_digest(job, snapshot.attempt or '', question)}"
    return Request(
        event=_note(channel, job, ANSWERED, data, note_id),
        reply=JobReply(accepted=True, code="accepted", state="running"),
    )


def check_answer(value: Any) -> None:
    """Check that a value can be an answer.

    Raises:
        InvalidEventError: it is not JSON, or over 8 KiB of it.

    """
    try:
        size = len(orjson.dumps(value))
    except TypeError as error:
        raise InvalidEventError(f"The answer is not JSON: {error}") from error
    if size > MAX_ANSWER_BYTES:
        raise InvalidEventError(
            f"The answer has {size:,} bytes of JSON, over the limit of {MAX_ANSWER_BYTES:,}: "
            "send less"
        )


def _end(channel: str, job: str, snapshot: JobSnapshot, by: str | None) -> Request:
    """Return the end of a lost job: no worker is there that could follow a request.

    It has the name of the lost run. So it cannot end a later one, and a worker that comes back
    is refused and learns why.
    """
    data = {**snapshot.data, "state": "cancelled", "question": None, "by": by}
    event = Event(
        channel=channel,
        event=CANCELLED,
        data=data,
        key=job_key(job),
        fold="end",
        attempt=snapshot.attempt,
    )
    return Request(event=event, reply=JobReply(accepted=True, code="cancelled", state="cancelled"))


def _newest(answers: dict[str, Any]) -> dict[str, Any]:
    """Return the last answers that are short enough together."""
    kept: list[tuple[str, Any]] = []
    size = 0
    for question, value in reversed(answers.items()):
        size += len(orjson.dumps({question: value}))
        if size > MAX_ANSWERS_BYTES:
            break
        kept.append((question, value))
    return dict(reversed(kept))


def _note(channel: str, job: str, name: str, data: dict[str, Any], note_id: str) -> Event:
    return Event(channel=channel, event=name, data=data, id=note_id, key=job_key(job), fold="note")


def _refusal(code: ReplyCode, snapshot: JobSnapshot | None) -> JobReply:
    return JobReply(accepted=False, code=code, state=snapshot.state if snapshot else None)


def _digest(*names: str) -> str:
    """Return a short name for all names: ids are unique in the channel, not in the key alone."""
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:32]
