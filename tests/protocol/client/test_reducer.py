"""Reducer of one channel: each event once and in order, or a restart between."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from realtime_bridge.model import ids
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.client.reducer import (
    CAPACITY,
    STORED_IDS,
    Deliver,
    Output,
    Recover,
    Reducer,
    Restart,
)
from realtime_bridge.protocol.publishing.history import History

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "reducer.json").read_text())


def place(fields: dict[str, Any] | None) -> Position | None:
    return Position.from_json(fields) if fields else None


def event(fields: dict[str, Any]) -> Event:
    stored = Event(
        channel="job.7",
        event="job.step",
        data=None,
        id=fields["id"],
        key=fields.get("key"),
        source=fields.get("source"),
    )
    return stored.with_position(place(fields) if "epoch" in fields else None, 1)


def handle(reducer: Reducer, step: dict[str, Any]) -> list[Output]:
    """Give the reducer the input of one step of a vector."""
    match step:
        case {"event": fields}:
            return reducer.event(event(fields))
        case {"page": {"events": events, "top": top, "more": more}}:
            return reducer.page(tuple(map(event, events)), top=Position.from_json(top), more=more)
        case {"start": top}:
            return reducer.start(Position.from_json(top))
        case {"reset": reset}:
            asked = place(reset.get("asked"))
            return reducer.reset(reset["reason"], place(reset["top"]), asked=asked)
        case {"announced": offset}:
            return reducer.announced(offset)
        case {"interrupted": True}:
            reducer.interrupted()
            return []
    raise AssertionError(step)


def fields_of(output: Output) -> dict[str, Any]:
    """Return the output as the vectors write it."""
    match output:
        case Deliver(one):
            return {"deliver": one.id}
        case Recover(after):
            return {"recover": after and after.to_json()}
        case Restart(reason, position):
            return {"restart": reason, "position": position and position.to_json()}


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_vector(vector: dict[str, Any]) -> None:
    reducer = Reducer(client=vector.get("client"), position=place(vector.get("position")))
    for number, step in enumerate(vector["steps"]):
        outputs = [fields_of(output) for output in handle(reducer, step)]
        assert outputs == step["expect"], f"step {number}"
        if "phase" in step:
            assert reducer.phase == step["phase"], f"step {number}"
        if "position" in step:
            position = reducer.position and reducer.position.to_json()
            assert position == step["position"], f"step {number}"


def numbered(offset: int, epoch: str = "aaaaaaaa") -> Event:
    return event({"epoch": epoch, "offset": offset, "id": f"{epoch}-{offset}"})


def delivered(outputs: list[Output]) -> list[str]:
    return [output.event.id for output in outputs if isinstance(output, Deliver)]


def test_event_beyond_capacity_is_dropped_and_recovered() -> None:
    reducer = Reducer(position=Position("aaaaaaaa", 0))
    for offset in range(2, CAPACITY + 4):
        reducer.event(numbered(offset))
    outputs = reducer.event(numbered(1))
    assert len(delivered(outputs)) == CAPACITY + 1
    settled = reducer.page((), top=Position("aaaaaaaa", CAPACITY + 3), more=False)
    assert settled == [Recover(Position("aaaaaaaa", CAPACITY + 1))]


def test_reset_of_an_earlier_position_is_requested_again() -> None:
    requested = Position("aaaaaaaa", 0)
    reducer = Reducer(position=requested)
    reducer.event(numbered(1))
    outputs = reducer.reset("truncated", Position("aaaaaaaa", 9), asked=requested)
    assert outputs == [Recover(Position("aaaaaaaa", 1))]
    assert reducer.position == Position("aaaaaaaa", 1)


def test_reset_of_the_current_position_restarts_there() -> None:
    requested, top = Position("aaaaaaaa", 1), Position("aaaaaaaa", 9)
    reducer = Reducer(position=requested)
    assert reducer.reset("truncated", top, asked=requested) == [Restart("truncated", top)]
    assert (reducer.position, reducer.phase) == (top, "current")


def test_held_event_that_repeats_takes_no_capacity() -> None:
    reducer = Reducer(position=Position("aaaaaaaa", 0))
    for offset in (*range(2, CAPACITY + 2), 2):
        reducer.event(numbered(offset))
    assert len(delivered(reducer.event(numbered(1)))) == CAPACITY + 1


def test_id_is_stored_for_256_events_across_epochs() -> None:
    reducer = Reducer(position=Position("aaaaaaaa", 0))
    for offset in range(1, STORED_IDS + 2):
        reducer.event(numbered(offset))
    reducer.reset("epoch", Position("bbbbbbbb", 0))
    known = event({"epoch": "bbbbbbbb", "offset": 1, "id": "aaaaaaaa-2"})
    expired = event({"epoch": "bbbbbbbb", "offset": 2, "id": "aaaaaaaa-1"})
    assert reducer.event(known) == []
    assert reducer.event(expired) == [Deliver(expired)]


def test_contradiction_within_256_offsets_is_recovered() -> None:
    reducer = Reducer(position=Position("aaaaaaaa", 0))
    for offset in range(1, STORED_IDS + 2):
        reducer.event(numbered(offset))
    assert reducer.event(event({"epoch": "aaaaaaaa", "offset": 1, "id": "x"})) == []
    assert reducer.event(event({"epoch": "aaaaaaaa", "offset": 2, "id": "x"})) != []


class Faults(RuleBasedStateMachine):
    """Log, pushes that are lost, repeated and reordered, and a client that recovers.

    Answers show the log at the time of the request, and may arrive late or never.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log: dict[str, list[Event]] = {}
        self.lose_the_log()
        self.sources: list[str | None] = []
        self.pushes: list[Event] = []
        self.pushed_epoch = 0
        self.reducer = Reducer(client="me")
        self.answers: list[Page | Reset | Position] = [self.history.top]
        self.handled: list[Event | Position] = []

    @rule()
    def lose_the_log(self) -> None:
        self.history = History(ids.epoch(), now=0.0, retention=Retention(events=6))
        self.log[self.history.top.epoch] = []

    @rule(count=st.integers(1, 4), source=st.sampled_from([None, "me", "other"]))
    def append(self, count: int, source: str | None) -> None:
        for _ in range(count):
            self.sources.append(source)
            self._append(len(self.sources) - 1)

    @precondition(lambda self: self.sources)
    @rule(data=st.data())
    def retry_a_publish(self, data: st.DataObject) -> None:
        self._append(data.draw(st.integers(0, len(self.sources) - 1)))

    def _append(self, number: int) -> None:
        one = Event(
            channel="job.7",
            event="job.step",
            data=None,
            id=f"e{number}",
            source=self.sources[number],
        )
        receipt, stored = self.history.append(one, now=0.0, time=1)
        if stored:
            self.pushes.append(stored)
            if not receipt.duplicate:
                self.log[self.history.top.epoch].append(stored)

    @precondition(lambda self: self.pushes)
    @rule(data=st.data(), again=st.booleans())
    def push(self, data: st.DataObject, again: bool) -> None:  # noqa: FBT001
        index = data.draw(st.integers(0, len(self.pushes) - 1))
        pushed = self.pushes[index] if again else self.pushes.pop(index)
        self.pushed_epoch = max(self.pushed_epoch, self._age(pushed))
        self._do(self.reducer.event(pushed))

    @precondition(lambda self: self.pushes)
    @rule(data=st.data())
    def lose_a_push(self, data: st.DataObject) -> None:
        self.pushes.pop(data.draw(st.integers(0, len(self.pushes) - 1)))

    @precondition(lambda self: self.answers)
    @rule()
    def answer(self) -> None:
        answer = self.answers.pop(0)
        if isinstance(answer, Position):
            self.handled.append(answer)
            self._do(self.reducer.start(answer))
        elif isinstance(answer, Reset):
            self._do(self.reducer.reset(answer.reason, answer.top))
        else:
            self._do(self.reducer.page(answer.events, top=answer.top, more=answer.more))

    @rule()
    def reconnect(self) -> None:
        self.reducer.interrupted()
        self.answers = []
        self._ask()

    @rule()
    def receive_a_heartbeat(self) -> None:
        self._do(self.reducer.announced(self.history.top.offset))

    @rule()
    def come_to_rest(self) -> None:
        self.reconnect()
        while self.answers:
            self.answer()
        assert self.reducer.phase == "current"
        assert self.reducer.position == self.history.top
        rest = [one for one in self.log[self.history.top.epoch] if self._follows(one)]
        assert {one.id for one in rest if one.source != "me"} <= self._handled_ids()

    def _follows(self, one: Event) -> bool:
        """Return whether an event of the current epoch comes after the last one handled."""
        last = _place(self.handled[-1])
        return last.epoch != _place(one).epoch or _place(one).offset > last.offset

    def _handled_ids(self) -> set[str]:
        return {one.id for one in self.handled if isinstance(one, Event)}

    def _age(self, one: Event | Position) -> int:
        return list(self.log).index(_place(one).epoch)

    def _ask(self) -> None:
        here = self.reducer.position
        self.answers.append(self.history.read(here, 3) if here else self.history.top)

    def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Deliver(one):
                    self.handled.append(one)
                case Restart(_, position):
                    assert position
                    self.handled.append(position)
                case Recover():
                    self._ask()

    @invariant()
    def no_event_is_handled_twice_and_no_own_event(self) -> None:
        ids = [one.id for one in self.handled if isinstance(one, Event)]
        assert len(set(ids)) == len(ids)
        assert not any(isinstance(one, Event) and one.source == "me" for one in self.handled)

    @invariant()
    def no_event_is_skipped_without_a_restart(self) -> None:
        known: set[str] = set()
        for before, one in pairwise(self.handled):
            if isinstance(one, Event):
                here, last = _place(one), _place(before)
                assert here.epoch == last.epoch
                assert here.offset > last.offset
                skipped = self.log[here.epoch][last.offset : here.offset - 1]
                assert {left.id for left in skipped if left.source != "me"} <= known
                known.add(one.id)

    @invariant()
    def epoch_of_a_pushed_event_is_reached_after_all_answers(self) -> None:
        if not self.answers:
            assert self.reducer.position
            assert self._age(self.reducer.position) >= self.pushed_epoch


def _place(one: Event | Position) -> Position:
    position = one if isinstance(one, Position) else one.position
    assert position
    return position


TestFaults = Faults.TestCase
TestFaults.settings = settings(max_examples=150, stateful_step_count=50)
