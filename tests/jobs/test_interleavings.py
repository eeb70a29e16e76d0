"""Random interleavings of producer, runs, queue, pages and clock over the model of a log."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from realtime_bridge import Event
from realtime_bridge.jobs.control import JobReply, decide_answer, decide_cancel
from realtime_bridge.jobs.snapshot import JobSnapshot, fold_job_group
from realtime_bridge.jobs.state import JobState
from realtime_bridge.jobs.update import END_STATES, job_key
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import History

CHANNEL, JOB = "user-42", "a1"
RUNS = ("A", "B")
QUESTION = {"id": "q", "text": "Go on?", "choices": None}


class Jobs(RuleBasedStateMachine):
    """A log, two runs that publish at once, and all events that it accepted."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.count = 0
        self.history = History("k3v9q2wz", now=0.0, retention=Retention(events=10**6))
        self.events: list[Event] = []
        self.begun: set[str] = set()
        self.runs = {name: self.new_run(name) for name in RUNS}

    def new_run(self, attempt: str) -> JobState:
        self.count += 1
        # A queue runs a task again under another name.
        return JobState(JOB, title="Import", attempt=f"{attempt}{self.count}", cancellable=True)

    def append(self, event: Event) -> Any:
        receipt, stored = self.history.append(event, now=self.now, time=1)
        if stored and not receipt.duplicate:
            self.events.append(stored)
        self.events += self.history.lapse(self.now, 1)
        return receipt

    def publish(self, state: JobState) -> None:
        while update := state.next_update(self.now, 1):
            receipt = self.append(update.to_event(CHANNEL, job_key(JOB), state.attempt))
            if receipt.refused:
                state.refuse(update, receipt.refused)
            else:
                state.remove(update)
            snapshot = self.snapshot()
            if snapshot and (receipt.noted or state.refused):
                state.noted(snapshot, 1)
            # A cancel is seen with the receipt after it, not later.
            if snapshot and snapshot.is_cancelling and not state.refused and not state.has_ended:
                assert state.interruption == "cancelled"

    def snapshot(self) -> JobSnapshot | None:
        return fold_job_group(self.history.latest(key=job_key(JOB)).events)

    @rule(name=st.sampled_from(RUNS), how=st.sampled_from(("started", "retrying", *END_STATES)))
    def change(self, name: str, how: str) -> None:
        run = self.runs[name]
        # A run starts once: the next start is that of another attempt.
        if how == "started" and (run.has_ended or name in self.begun):
            run = self.runs[name] = self.new_run(name)
        self.begun.add(name)
        run.change(how, 1)
        self.publish(run)

    @rule(name=st.sampled_from(RUNS))
    def progress(self, name: str) -> None:
        self.now += 1.0
        self.begun.add(name)
        self.runs[name].set_progress(0.5)
        self.publish(self.runs[name])

    @rule(name=st.sampled_from(RUNS))
    def ask(self, name: str) -> None:
        self.begun.add(name)
        self.runs[name].ask(QUESTION, 1)
        self.publish(self.runs[name])

    @rule()
    def queue_again(self) -> None:
        producer = self.new_run("P")
        producer.change("queued", 1)
        self.publish(producer)

    @rule()
    def end_by_authority(self) -> None:
        queue = self.new_run("Q")
        queue.change("failed", 1)
        self.publish(queue)

    @rule()
    def cancel(self) -> None:
        decision = decide_cancel(CHANNEL, JOB, self.snapshot(), by="42", reason=None)
        if not isinstance(decision, JobReply):
            assert self.append(decision.event).refused is None

    @rule(value=st.sampled_from(("yes", "no")))
    def answer(self, value: str) -> None:
        decision = decide_answer(CHANNEL, JOB, self.snapshot(), question="q", value=value, by="42")
        if not isinstance(decision, JobReply):
            assert self.append(decision.event).refused is None

    @rule(seconds=st.sampled_from((1.0, 31.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.events += self.history.lapse(self.now, 1)

    @invariant()
    def group_folds_to_what_all_events_fold_to(self) -> None:
        group, everything = self.snapshot(), fold_job_group(self.events)
        if group is None or everything is None:
            assert group is everything
            return
        for name in ("state", "data", "is_cancelling", "question"):
            assert getattr(group, name) == getattr(everything, name), name

    @invariant()
    def run_has_one_end(self) -> None:
        ends = [event.attempt for event in self.events if event.fold == "end"]
        assert len(ends) == len(set(ends))


Jobs.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestJobs = Jobs.TestCase
