"""Checker of jobs with owners: I14 to I16, and I23."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from realtime_bridge.jobs.snapshot import fold_job_group
from realtime_bridge.model.event import Event
from realtime_bridge.model.receipt import Lease
from realtime_bridge.protocol.publishing.history import History
from realtime_bridge.testing.simulation.faults import Fault, end_of_quiet_period
from realtime_bridge.testing.simulation.log_store import (
    FullPosition,
    LogStore,
    Witness,
    full_position,
)
from realtime_bridge.testing.simulation.stream_checker import CHECK_SECONDS, NOTICE_SECONDS
from realtime_bridge.testing.simulation.task_job import TaskAttempt
from realtime_bridge.testing.simulation.violations import Violations
from realtime_bridge.testing.simulation.virtual_loop import START, VirtualLoop

TASK_PREFIX = "job-task"
"""Begin of the keys of tasks; other jobs have no owner."""

END_SECONDS = 45.0
"""Longest time until a job that has ended is shown so, or as lost: its updates, then its lease."""

STATES = {"job.started": "running", "job.progress": "running"}


@dataclass(frozen=True, slots=True)
class TaskState:
    """State of a job, folded from its accepted events without the library's code."""

    state: str
    attempt: str | None = None
    lease: float = 0.0
    active_at: float = 0.0
    end: Literal["lapse", "end"] | None = None
    cancelling_since: float | None = None
    question: str | None = None

    @property
    def silent_at(self) -> float | None:
        """Moment at which the lease runs out; None without a lease."""
        return self.active_at + self.lease if self.lease and self.end is None else None

    @property
    def visible(self) -> tuple[object, ...]:
        """Visible parts of the state."""
        return self.state, self.attempt, self.cancelling_since is not None, self.question


States = Mapping[str, TaskState]


class TaskChecker(Witness):
    """Comparison of the jobs that the log keeps, and that pages show, with all accepted events.

    Args:
        loop: the event loop.
        store: the log.
        violations: receives violations.
        faults: the faults of the run.

    """

    def __init__(
        self, loop: VirtualLoop, store: LogStore, violations: Violations, faults: list[Fault]
    ) -> None:
        self.attempts: dict[str, TaskAttempt] = {}
        """Runs by name."""
        self._loop = loop
        self._store = store
        self._violations = violations
        self._fail = violations.report
        self._faults = faults
        self._states: dict[FullPosition, States] = {}
        self._answers: dict[str, list[tuple[float, Any]]] = {}
        """Stored answers to each question, with their moments."""
        self._cancelled: set[str] = set()
        """Keys whose cancellation the log has stored."""
        self._lost_at: dict[str, float] = {}
        store.witnesses.append(self)

    def states(self, at: FullPosition) -> States:
        """Return the jobs as of a position."""
        return self._states.get(at, {})

    def stored(self, event: Event, before: FullPosition, at: FullPosition) -> None:
        """Fold an accepted event."""
        states = self.states(before)
        if event.key and event.key.startswith(TASK_PREFIX):
            states = {**states, event.key: self._fold(states.get(event.key), event)}
        if states:
            self._states[at] = states

    def renewed(self, lease: Lease, history: History) -> None:
        """Record the renewal of a lease."""
        at = full_position(history.top)
        states = self.states(at)
        if lease.key in states:
            state = states[lease.key]
            if state.attempt != lease.attempt or state.end is not None:
                self._fail("I14", f"the lease of {lease.attempt} is renewed; the job is {state}")
            self._states[at] = {**states, lease.key: replace(state, active_at=self._loop.now)}

    def settled(self, history: History) -> None:
        """Check that no silent owner is left."""
        for name, state in self.states(full_position(history.top)).items():
            if state.silent_at is not None and self._loop.now >= state.silent_at:
                self._fail("I16", f"{name} is silent, and has no lapse: {state}")

    def moved(self, before: FullPosition, after: FullPosition) -> None:
        """Copy the jobs to a new epoch."""
        self._states[after] = self.states(before)

    def lost(self, channel: str) -> None:
        """Record that a channel lost events."""
        self._lost_at[channel] = self._loop.now

    def check_reply(self, key: str, question: str | None, value: Any = None) -> None:
        """Check a request that was accepted: the log has it, and no other one in its place."""
        if question is None:
            if key not in self._cancelled:
                self._fail("I23", f"the cancellation of {key} was accepted; the log has none")
        elif all(stored != value for _, stored in self._answers.get(question, ())):
            stored = self._answers.get(question)
            self._fail("I23", f"{value} was accepted for {question}; the log has {stored}")

    def check_answer(self, attempt: TaskAttempt, question: str, value: Any) -> None:
        """Check the answer that an application receives."""
        if all(stored != value for _, stored in self._answers.get(question, ())):
            self._fail("I23", f"{attempt.job.id} got {value} for {question}: the log has none")

    def check_shown(self, page: str, key: str, events: Sequence[Event], at: FullPosition) -> None:
        """Check that a page shows a job as the log had it as of a position (I23)."""
        state, shown = self.states(at).get(key), fold_job_group(events)
        if state is None or shown is None:
            return  # the log has lost the job: the page keeps what it shows
        question = (shown.question or {}).get("id")
        visible = shown.state, shown.attempt, shown.is_cancelling, question
        if visible != state.visible:
            self._fail("I23", f"{page} shows {visible} of {key}; the log has {state} at {at}")

    def check_final_state(self) -> None:
        """Check after the last fault that runs and the log agree (I23)."""
        for attempt in self.attempts.values():
            state = self.states(self._store.top(attempt.job.channel)).get(attempt.job.key)
            if state is None or attempt.is_dead or state.attempt != attempt.run.attempt:
                continue
            self._check_run(attempt, state)

    def check_watched(self, channel: str) -> None:
        """Check that a silent owner on a channel with subscribers was ended (I16)."""
        for name, state in self.states(self._store.top(channel)).items():
            if state.silent_at and self._loop.now > state.silent_at + CHECK_SECONDS:
                self._fail("I16", f"{name} has no lapse: {state}")

    def _check_run(self, attempt: TaskAttempt, state: TaskState) -> None:
        now, name = self._loop.now, f"{attempt.job.id} by {attempt.run.attempt}"
        # Its own end is in the log before it has the answer.
        if attempt.is_running and state.end == "lapse":
            self._fail("I23", f"{name} runs; the log has {state}")
        is_lost = self._lost_at.get(attempt.job.channel, 0.0) >= attempt.ended_at
        is_over = attempt.end in ("completed", "cancelled")
        if is_over and not is_lost and state.end is None and now > attempt.ended_at + END_SECONDS:
            self._fail("I23", f"{name} is {attempt.end}; the log has {state}")

    def _expect(self, key: str, question: str | None, state: TaskState) -> None:
        """Expect that the owner of a job follows a request or a lapse, unless faults hinder it."""
        now = self._violations.now_ms
        end = end_of_quiet_period(self._faults, now, round(NOTICE_SECONDS * 1_000), lambda _: True)
        if state.attempt in self.attempts:
            attempt = self.attempts[state.attempt]
            self._loop.call_at(START + end / 1_000, self._check_noticed, attempt, key, question)

    def _check_noticed(self, attempt: TaskAttempt, key: str, question: str | None) -> None:
        state = self.states(self._store.top(attempt.job.channel)).get(key)
        if state is None or state.attempt != attempt.run.attempt or attempt.is_dead:
            return
        is_cancelled = question is None and state.cancelling_since is not None
        if attempt.is_running and (is_cancelled or state.end == "lapse"):
            self._fail("I23", f"{key} runs, and its worker does not know: {state}")
        has_lost_question = self._lost_at.get(attempt.job.channel, 0.0) >= attempt.asked_at
        is_waiting = attempt.asked == question and state.question is None
        if question is not None and is_waiting and not has_lost_question:
            self._fail("I23", f"{key} waits for the answer to {question}; the log has it: {state}")

    def _lapse(self, state: TaskState | None, event: Event) -> TaskState:
        if state is None or state.silent_at is None:
            self._fail("I16", f"{event} ends {state}")
        assert state
        assert state.silent_at is not None
        assert event.key
        # A rollback loses renewals too: the lease is that of an earlier moment again.
        has_lost_renewal = self._lost_at.get(event.channel, 0.0) >= state.active_at
        if self._loop.now < state.silent_at and not has_lost_renewal:
            self._fail("I16", f"{event} ends {state}")
        self._expect(event.key, None, state)
        return replace(state, end="lapse", state="lost")

    def _fold(self, state: TaskState | None, event: Event) -> TaskState:
        write, now = event.write, self._loop.now
        if write is None:
            return self._queue(state, event)
        if write.fold == "note":
            assert state
            return self._note(state, event)
        if write.fold == "lapse":
            return self._lapse(state, event)
        if write.take is None and (state is None or state.attempt != write.attempt):
            self._fail("I14", f"{event} was accepted; the owner is {state}")
        is_over = state is not None and state.end == "end"
        if is_over and write.take != "always":
            self._fail("I15", f"{event} follows the end of {state}")
        name = STATES.get(event.event, event.event.removeprefix("job."))
        if write.fold == "end":
            return replace(
                state or TaskState(name),
                state=name, end="end", attempt=write.attempt, cancelling_since=None, question=None,
            )  # fmt: skip
        lease = write.lease if write.lease is not None else state.lease if state else 0
        return TaskState(
            name,
            write.attempt,
            lease,
            now,
            cancelling_since=state.cancelling_since if state else None,
            question=(event.data.get("question") or {}).get("id"),
        )

    def _queue(self, state: TaskState | None, event: Event) -> TaskState:
        if state is not None and state.attempt is not None:
            self._fail("I23", f"{event} overwrites {state}")
        since = state.cancelling_since if state else None
        return TaskState("queued", cancelling_since=since)

    def _note(self, state: TaskState, event: Event) -> TaskState:
        if state.end == "end":
            self._fail("I15", f"{event} follows the end of {state}")
        assert event.key
        if event.event == "job.cancelling":
            self._cancelled.add(event.key)
            self._expect(event.key, None, state)
            return replace(state, cancelling_since=state.cancelling_since or self._loop.now)
        question = event.data["question"]
        answers = self._answers.setdefault(question, [])
        if answers and self._lost_at.get(event.channel, 0.0) < answers[-1][0]:
            self._fail("I23", f"{event} is the second answer to {question}: {answers}")
        answers.append((self._loop.now, event.data["value"]))
        self._expect(event.key, question, state)
        if state.state == "asking" and state.question == question:
            return replace(state, state="running", question=None)
        return state
