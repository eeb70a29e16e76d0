"""Keys with owners: invariants I13 to I16 of the specification over random histories."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import History

CHANNEL, EPOCH = "job.7", "k3v9q2wz"
LEASE = 30
KEYS, ATTEMPTS = ("a", "b"), ("A", "B", "C")

keys, attempts = st.sampled_from(KEYS), st.sampled_from(ATTEMPTS)
takes = st.sampled_from(("always", "open", "absent"))


class Fold:
    """State of one key as a reader folds it, written without the log's own code."""

    def __init__(self) -> None:
        self.base: str | None = None
        self.items: list[Any] = []
        self.end: str | None = None
        self.notes: dict[str, str] = {}

    def apply(self, event: Event) -> None:
        match event.fold:
            case None:
                self.base, self.items, self.end = event.id, [], None
            case "append":
                self.items, self.end = [*self.items, *event.data], None
            case "end":
                self.end, self.notes = event.id, {}
            case "lapse":
                self.end = event.id
            case "note":
                self.notes[event.event] = event.id

    @classmethod
    def of(cls, events: Iterable[Event]) -> dict[str, Any]:
        fold = cls()
        for event in events:
            fold.apply(event)
        return vars(fold)


class OwnedKeys(RuleBasedStateMachine):
    """A history, beside a list of all that it accepted."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.history = History(EPOCH, now=0.0, retention=Retention(events=10**6, seconds=10**9))
        self.events: list[Event] = []
        self.snapshots: list[tuple[str, Page]] = []
        self.active_at: dict[str, float] = {}
        """Time of the last accepted event, or renewal, of each key's owner."""
        self.count = 0

    def publish(self, event: str, data: Any = None, **fields: Any) -> None:
        self.count += 1
        given = Event(channel=CHANNEL, event=event, data=data, id=f"e{self.count}", **fields)
        receipt, stored = self.history.append(given, now=self.now, time=1)
        assert (receipt.refused is None) == (stored is not None)
        if stored:
            self.events.append(stored)
            if stored.fold != "note" and stored.key:
                self.active_at[stored.key] = self.now
        self.lapse()

    def lapse(self) -> None:
        for event in self.history.lapse(self.now, 1):
            assert event.key
            assert self.now >= self.active_at[event.key] + LEASE
            self.events.append(event)

    @rule(key=keys, attempt=attempts, take=takes, has_lease=st.booleans())
    def take(self, key: str, attempt: str, take: str, *, has_lease: bool) -> None:
        lease: dict[str, Any] = {"lease": LEASE, "will": {"event": "lost"}} if has_lease else {}
        self.publish("started", key=key, attempt=attempt, take=take, **lease)

    @rule(key=keys, attempt=attempts, items=st.lists(st.integers(0, 9), max_size=3))
    def add(self, key: str, attempt: str, items: list[int]) -> None:
        self.publish("part", items, key=key, attempt=attempt, fold="append")

    @rule(key=keys, attempt=attempts)
    def replace(self, key: str, attempt: str) -> None:
        self.publish("progress", key=key, attempt=attempt)

    @rule(key=keys, attempt=attempts)
    def end(self, key: str, attempt: str) -> None:
        self.publish("ended", key=key, attempt=attempt, fold="end")

    @rule(key=keys, name=st.sampled_from(("asked", "answered")))
    def note(self, key: str, name: str) -> None:
        self.publish(name, key=key, fold="note")

    @rule(key=keys)
    def plain(self, key: str) -> None:
        self.publish("plain", key=key)

    @rule(seconds=st.sampled_from((1.0, 29.0, 31.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.lapse()

    @rule(key=keys, attempt=attempts)
    def renew(self, key: str, attempt: str) -> None:
        if not self.history.renew(key, attempt, self.now).refused:
            self.active_at[key] = self.now

    @rule(key=keys)
    def read_group(self, key: str) -> None:
        self.snapshots.append((key, self.history.latest(key=key)))

    @invariant()
    def group_and_tail_fold_to_all(self) -> None:
        for key in KEYS:
            everything = Fold.of(event for event in self.events if event.key == key)
            assert Fold.of(self.history.latest(key=key).events) == everything
        for key, page in self.snapshots:
            everything = Fold.of(event for event in self.events if event.key == key)
            later = self.events[page.top.offset :]  # the offsets count from 1
            own = (event for event in later if event.key == key)
            assert Fold.of((*page.events, *own)) == everything

    @invariant()
    def each_key_has_one_owner_at_a_time(self) -> None:
        for key in KEYS:
            owner, is_ended = None, False
            for event in self.events:
                if event.key != key or event.fold == "note" or event.attempt is None:
                    continue
                if event.attempt != owner:
                    assert event.event in ("started", "ended")
                    owner, is_ended = event.attempt, False
                elif event.event == "started":
                    is_ended = False
                assert not is_ended
                is_ended = event.fold == "end"

    @invariant()
    def each_silence_has_one_lapse(self) -> None:
        for key in KEYS:
            folds = [event.fold for event in self.events if event.key == key]
            spoken = [fold for fold in folds if fold != "note"]
            assert ("lapse", "lapse") not in set(pairwise(spoken))


TestOwnedKeys = OwnedKeys.TestCase
TestOwnedKeys.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
