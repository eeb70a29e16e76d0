"""States of a job in the log: each write in each state, and stories of several, by the vectors."""

import json
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge import Event
from realtime_bridge.jobs.control import JobReply, decide_answer, decide_cancel
from realtime_bridge.jobs.payloads import JobData
from realtime_bridge.jobs.snapshot import JobSnapshot, fold_job_group
from realtime_bridge.jobs.state import JobState
from realtime_bridge.jobs.update import job_key
from realtime_bridge.model import ids
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import History

DOCUMENT = json.loads((Path(__file__).parent.parent / "vectors" / "jobs.json").read_text())
CHANNEL, JOB, TITLE = "user-42", "a1", "Transcribe call.mp3"
ATTEMPTS = {"parent": "A", "queue": "Q", "former": "F"}
"""Names of the runs that are not those of their actors."""


class Log:
    """Log of one channel, with the workers and pages that write to it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.accepted: list[Event] = []
        self.refusals: list[str] = []
        self._workers: dict[str, JobState] = {}
        self._lose()

    def take(self, step: dict[str, Any]) -> JobReply | None:
        """Take a step, and return the reply that a page gets."""
        self.accepted, self.refusals = [], []
        args = step.get("args", {})
        match step["input"]:
            case "lose":
                self._lose()
            case "pass":
                self.now += 31.0
                self.accepted += self.history.lapse(self.now, 1)
            case "cancel":
                decision = decide_cancel(CHANNEL, JOB, self.snapshot(), reason=None, **args)
                return self._request(decision)
            case "answer":
                decision = decide_answer(CHANNEL, JOB, self.snapshot(), **args)
                return self._request(decision)
            case name:
                worker = self._worker(step["actor"])
                timed = {} if name == "set_progress" else {"now_ms": 1_000}
                getattr(worker, name)(**args, **timed)
                self._publish(step["actor"], worker)
        return None

    def snapshot(self) -> JobSnapshot | None:
        return fold_job_group(self.history.latest(key=job_key(JOB)).events)

    def _lose(self) -> None:
        self.history = History(ids.epoch(), now=self.now, retention=Retention())

    def _worker(self, actor: str) -> JobState:
        if actor not in self._workers:
            self._workers[actor] = JobState(
                JOB,
                title=TITLE,
                attempt=ATTEMPTS.get(actor, actor),
                is_named=actor in ("parent", "former"),
                cancellable=True,
            )
        return self._workers[actor]

    def _publish(self, actor: str, worker: JobState) -> None:
        self.now += 1.0
        while update := worker.next_update(self.now, 1_000):
            refused = self._append(update.to_event(CHANNEL, job_key(JOB), actor))
            if refused is None:
                worker.remove(update)
            else:
                worker.refuse(update, refused)

    def _request(self, decision: Any) -> JobReply:
        if isinstance(decision, JobReply):
            return decision
        assert self._append(decision.event) is None
        reply: JobReply = decision.reply
        return reply

    def _append(self, event: Event) -> Any:
        receipt, stored = self.history.append(event, now=self.now, time=1)
        if stored and not receipt.duplicate:
            self.accepted.append(stored)
        if receipt.refused:
            self.refusals.append(receipt.refused)
        return receipt.refused


def check_step(log: Log, step: dict[str, Any]) -> None:
    reply = log.take(step)
    assert [content(event) for event in log.accepted] == list(map(expected, step["events"])), step
    assert log.refusals == step.get("refused", []), step
    if "reply" in step:
        assert reply == JobReply(**step["reply"]), step


def content(event: Event) -> dict[str, Any]:
    data = event.data
    data.pop("version", None)
    fields = {"event": event.event, "attempt": event.attempt, "fold": event.fold}
    return {name: value for name, value in fields.items() if value} | {"data": data}


def expected(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event of a vector with all of its data."""
    if event.get("fold") in ("note", "lapse"):
        return event
    unknown = dict.fromkeys(JobData.model_fields) | {"job": JOB, "title": TITLE}
    del unknown["version"]
    return event | {"data": unknown | event["data"]}


def check_shown(log: Log, shown: dict[str, Any] | None) -> None:
    snapshot = log.snapshot()
    if shown is None:
        assert snapshot is None
        return
    assert snapshot is not None
    assert snapshot.state == shown["state"]
    for name in ("attempt", "question", "by"):
        if name in shown and snapshot.state != "queued":
            assert getattr(snapshot, name) == shown[name]
    if "cancelling" in shown:
        assert snapshot.is_cancelling == shown["cancelling"]


@pytest.mark.parametrize(
    "cell", DOCUMENT["cells"], ids=[cell["name"] for cell in DOCUMENT["cells"]]
)
def test_cell(cell: dict[str, Any]) -> None:
    log = Log()
    for step in DOCUMENT["states"][cell["from"]]:
        check_step(log, step)
    check_step(log, cell)
    check_shown(log, cell["shown"])


@pytest.mark.parametrize(
    "story", DOCUMENT["stories"], ids=[story["name"] for story in DOCUMENT["stories"]]
)
def test_story(story: dict[str, Any]) -> None:
    log = Log()
    for step in story["steps"]:
        check_step(log, step)
    check_shown(log, story["shown"])
