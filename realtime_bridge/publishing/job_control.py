"""Requests of people to the jobs of a channel: cancel, and answer."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from msgspec import Struct

from realtime_bridge.jobs.control import (
    JobReply,
    Request,
    check_answer,
    decide_answer,
    decide_cancel,
)
from realtime_bridge.jobs.snapshot import JobSnapshot, fold_job_group
from realtime_bridge.jobs.update import job_key
from realtime_bridge.jobs.values import to_job_id
from realtime_bridge.model.channel import check_channel
from realtime_bridge.model.event import Event
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.publishing.owned_keys import OwnedKeys

MAX_CHILDREN = 200
"""Children that a cancel of their parent reaches."""

_TRIES = 3
"""Readings of a job that changes while it is cancelled."""

PublishMany = Callable[[Sequence[Event]], Awaitable[list[Receipt]]]


class Cancellation(Struct, frozen=True):
    """Result of a request to cancel a job.

    Args:
        reply: the reply for the job itself.
        jobs: ids of the jobs that are cancelled: the job and its children.

    """

    reply: JobReply
    jobs: Sequence[str] = ()


class JobControl:
    """Requests to jobs, which the log checks and keeps for the workers.

    Args:
        keys: the keys in the log.
        publish_many: publishes events in order.

    """

    def __init__(self, keys: OwnedKeys, publish_many: PublishMany) -> None:
        self._keys = keys
        self._publish_many = publish_many

    async def cancel(
        self, channel: str, job: str, *, by: str | None, reason: str | None
    ) -> Cancellation:
        """Request the end of a job and of its children.

        Raises:
            InvalidEventError: the channel is not valid.
            ConfigurationError: the log keeps no jobs with owners, or there is none.
            PublishError: the log did not answer.

        """
        check_channel(channel)
        job = to_job_id(job)
        for _ in range(_TRIES):
            snapshot = await self._read(channel, job)
            decision = decide_cancel(channel, job, snapshot, by=by, reason=reason)
            if isinstance(decision, JobReply):
                return Cancellation(decision)
            children = await self._cancel_children(channel, job, by=by, reason=reason)
            events = [decision.event, *(request.event for request in children.values())]
            receipts = await self._publish_many(events)
            if receipts[0].refused is None:
                reached = zip(children, receipts[1:], strict=True)
                jobs = [job, *(child for child, receipt in reached if not receipt.refused)]
                return Cancellation(decision.reply, jobs)
        # It changed each time between the two calls: it has ended, or begins again and again.
        return Cancellation(_ended(await self._read(channel, job)))

    async def answer(
        self, channel: str, job: str, question: str, value: Any, *, by: str | None
    ) -> JobReply:
        """Answer a question of a job; the first answer wins.

        Raises:
            InvalidEventError: the channel or the answer is not valid.
            ConfigurationError, PublishError: as for `cancel`.

        """
        check_channel(channel)
        check_answer(value)
        # For the comparison with the first answer, as JSON: Python has 1 and True as equal.
        encoded = _encode(value)
        value = orjson.loads(encoded)
        job, question = to_job_id(job), to_job_id(question)
        asked: dict[str, Any] = {"question": question, "value": value, "by": by}
        decision = decide_answer(channel, job, await self._read(channel, job), **asked)
        if isinstance(decision, JobReply):
            return decision
        (receipt,) = await self._publish_many([decision.event])
        # The job may have gone on in the meantime, or another answer may have been the first.
        snapshot = await self._read(channel, job)
        answers = snapshot.answers if snapshot and not receipt.refused else {}
        if question in answers and _encode(answers[question]) == encoded:
            return decision.reply
        later = decide_answer(channel, job, snapshot, **asked)
        return later if isinstance(later, JobReply) else _ended(snapshot)

    async def _cancel_children(
        self, channel: str, parent: str, *, by: str | None, reason: str | None
    ) -> dict[str, Request]:
        """Return the requests to the children of a job that have not ended, by their ids."""
        requests: dict[str, Request] = {}
        for job, snapshot in (await self._jobs(channel)).items():
            if snapshot.data.get("parent") != parent or len(requests) == MAX_CHILDREN:
                continue
            decision = decide_cancel(channel, job, snapshot, by=by, reason=reason, is_child=True)
            if isinstance(decision, Request):
                requests[job] = decision
        return requests

    async def _jobs(self, channel: str) -> dict[str, JobSnapshot]:
        groups: dict[str, list[Event]] = {}
        after, more = 0, True
        while more:
            page = await self._keys.read_all(channel, after)
            for event in page.events:
                groups.setdefault(event.key or "", []).append(event)
            last = page.events[-1].position if page.events else None
            more, after = page.more and last is not None, last.offset if last else 0
        prefix = job_key("")
        jobs = ((key, fold_job_group(group)) for key, group in groups.items())
        return {
            key.removeprefix(prefix): job for key, job in jobs if key.startswith(prefix) and job
        }

    async def _read(self, channel: str, job: str) -> JobSnapshot | None:
        return fold_job_group((await self._keys.read(channel, job_key(job))).events)


def _encode(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _ended(snapshot: JobSnapshot | None) -> JobReply:
    state = snapshot.state if snapshot else None
    return JobReply(accepted=False, code="ended" if snapshot else "unknown_job", state=state)
