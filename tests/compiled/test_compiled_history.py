"""Appends to the memory log from C: receipts, positions and histories of those from Python."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_bridge.model.event import Event
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing import plain_append
from realtime_bridge.protocol.publishing.history import ID_SECONDS, MIN_IDS
from realtime_bridge_backends.memory import Histories
from tests.compiled.random_events import events


@contextmanager
def in_python() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_append, "append_plain", None)
        yield


BATCHES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.0, 0.5, 7.0, 61.0]), st.lists(events(), max_size=8)),
    max_size=12,
)
RETENTIONS = st.builds(
    Retention,
    events=st.integers(1, 6),
    bytes=st.sampled_from([100, 5_000]),
    seconds=st.sampled_from([20, 1_000]),
)


def epochs() -> Iterator[str]:
    return (f"{number:08}" for number in range(10**6))


class Course:
    """Histories, and all that their appends returned."""

    def __init__(self, retention: Retention, max_bytes: int) -> None:
        new_epochs = epochs()
        self.histories = Histories(retention, lambda: next(new_epochs), max_bytes=max_bytes)
        self.now = 1_000.0
        self.results: list[tuple[list[Receipt], list[Event]]] = []

    def append(self, wait: float, batch: Sequence[Event]) -> None:
        self.now += wait
        time = int(1_000 * self.now)
        self.results.append(self.histories.append(batch, now=self.now, time=time))

    def outcome(self) -> list[object]:
        """Return all that readers can see."""
        seen: list[object] = [*self.results, self.histories.size]
        for channel in self.histories.channels(stored=False):
            history = self.histories.of(channel, self.now)
            seen += [history.top, history.top.id, history.appended_at, history.size]
            page = history.oldest(100)
            seen += [page.events, history.latest()]
            for event in page.events:
                assert event.position
                answer = history.read(event.position)
                seen += [answer.reason if isinstance(answer, Reset) else answer.events]
        return seen


@settings(max_examples=80, deadline=None)
@given(BATCHES, RETENTIONS, st.sampled_from([4_000, 10**9]))
def test_random_histories_are_the_same_from_c_and_from_python(
    batches: list[tuple[float, list[Event]]], retention: Retention, max_bytes: int
) -> None:
    from_c, from_python = Course(retention, max_bytes), Course(retention, max_bytes)
    for wait, batch in batches:
        from_c.append(wait, batch)
    with in_python():
        for wait, batch in batches:
            from_python.append(wait, batch)
    assert from_c.outcome() == from_python.outcome()


@pytest.mark.parametrize("seconds", [0.0, ID_SECONDS + 1])
def test_old_ids_are_forgotten_as_by_python(seconds: float) -> None:
    def course() -> Course:
        course = Course(Retention(events=10, seconds=10**9), 10**9)
        numbers = range(MIN_IDS + 50)
        batch = [Event(channel="job.1", event="e", data=1, id=f"id-{n}") for n in numbers]
        course.append(0.0, batch)
        course.append(seconds, [Event(channel="job.1", event="e", data=2, id="later")])
        course.append(1.0, [batch[0], batch[51], batch[-1]])
        return course

    from_c = course()
    with in_python():
        from_python = course()
    assert from_c.outcome() == from_python.outcome()
    assert from_c.results[-1][0][0].duplicate is (seconds == 0)
    assert from_c.results[-1][0][2].duplicate


def test_append_is_compiled_here() -> None:
    course = Course(Retention(), 10**9)
    course.append(0.0, [Event(channel="job.1", event="job.step", data=1)])
    batch = [Event(channel="job.1", event="job.step", data=n, key="a") for n in range(2)]
    course.append(0.0, batch[:1])
    assert plain_append.append_plain
    receipts: list[Receipt] = []
    announced: list[Event] = []
    by_channel = {"job.1": course.histories.of("job.1", course.now)}
    arguments = (0, course.now, 1, 10**6, receipts, announced)
    assert plain_append.append_plain(by_channel, batch, *arguments)[0] == 0  # its id is known
    arguments = (1, course.now, 1, 10**6, receipts, announced)
    assert plain_append.append_plain(by_channel, batch, *arguments)[0] == 2
    assert [receipt.id for receipt in receipts] == [batch[1].id]
    assert announced[0].position == receipts[0].position


def test_arguments_of_other_types_are_refused() -> None:
    assert plain_append.append_plain
    with pytest.raises(TypeError):
        plain_append.append_plain({}, (), 0, 0.0, 0, 0, [], [])  # type: ignore[arg-type]


def test_many_appends_leave_no_memory() -> None:
    course = Course(Retention(events=5), 10**9)
    ids = [f"id-{number}" for number in range(3_000)]
    batches = [[Event(channel="job.1", event="e", data=1, id=id, key="k")] for id in ids]  # noqa: A001
    warm = MIN_IDS + 300  # beyond 256, Python keeps no numbers of its own
    for batch in batches[:warm]:
        course.append(400.0, batch)
    course.results.clear()
    before = sys.getallocatedblocks()
    for batch in batches[warm:]:
        course.append(400.0, batch)
        course.results.clear()
    assert sys.getallocatedblocks() - before < 500
