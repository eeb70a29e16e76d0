"""History of a channel: their bounds, resets, idempotency and expiry."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from realtime_bridge.model.event import Event
from realtime_bridge.model.event_data import MAX_DATA_BYTES
from realtime_bridge.model.page import PAGE_BYTES, PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import DAY, MAX_IDS, History

EPOCH = "k3v9q2wz"


def event(data: Any = None, *, id: str | None = None, key: str | None = None) -> Event:  # noqa: A002
    return Event(channel="job.7", event="job.step", data=data, id=id, key=key)


def made(retention: Retention | None = None) -> History:
    return History(EPOCH, now=0.0, retention=retention or Retention())


def append(history: History, *events: Event, now: float = 0.0) -> list[Receipt]:
    return [history.append(one, now=now, time=1)[0] for one in events]


def page_after(history: History, offset: int) -> Page | Reset:
    return history.read(Position(EPOCH, offset))


def ids_after(history: History, offset: int) -> list[str] | str:
    answer = page_after(history, offset)
    return answer.reason if isinstance(answer, Reset) else [event.id for event in answer.events]


def test_rotated_history_begins_with_latest_event_of_each_key() -> None:
    history = made()
    keyed = [event(n, id=f"id {n}", key=key) for n, key in enumerate(["a", None, "b", "a"])]
    append(history, *keyed)
    rotated = history.rotated("bbbbbbbb", now=5.0)
    assert (rotated.top, rotated.top.id) == (Position("bbbbbbbb", 2), "id 3")
    assert [(one.data, one.position) for one in rotated.latest().events] == [
        (2, Position("bbbbbbbb", 1)),
        (3, Position("bbbbbbbb", 2)),
    ]
    assert rotated.read(rotated.top) == Page(events=(), top=rotated.top)
    (receipt,) = append(rotated, keyed[3], now=5.0)
    assert (receipt.position, receipt.duplicate) == (Position("bbbbbbbb", 3), False)
    assert not rotated.expire(6 * DAY)


def test_rotated_history_without_keys_is_empty() -> None:
    history = made()
    append(history, event(1))
    rotated = history.rotated("bbbbbbbb", now=5.0)
    assert (rotated.top, rotated.size) == (Position("bbbbbbbb", 0), 0)
    append(rotated, event(2, id="two"))
    assert rotated.size > 0


def test_dropped_events_give_a_reset_and_their_memory_back() -> None:
    history = made()
    append(history, *(event("x" * 1_000, id=f"id {n}") for n in range(4)))
    before = history.size
    history.drop_events(keep=1)
    assert history.size < before / 3
    assert (ids_after(history, 2), ids_after(history, 4)) == ("truncated", [])
    history.drop_events()
    assert history.size == 0
    append(history, event(id="new"))
    assert (ids_after(history, 3), ids_after(history, 4)) == ("truncated", "truncated")


def test_appended_event_is_announced_with_position_and_time() -> None:
    receipt, stored = made().append(event("a", id="one"), now=0.0, time=1_763_836_800_123)
    assert receipt == Receipt(id="one", position=Position(EPOCH, 1))
    assert stored is not None
    assert stored.position == Position(EPOCH, 1)
    assert stored.position.id == "one"
    assert (stored.data, stored.time) == ("a", 1_763_836_800_123)


def test_known_id_announces_the_stored_event_again() -> None:
    history = made()
    _, first = history.append(event("first", id="same"), now=0.0, time=1)
    receipt, again = history.append(event("second", id="same"), now=1.0, time=2)
    assert receipt == Receipt(id="same", position=Position(EPOCH, 1), duplicate=True)
    assert again == first


def test_known_id_of_a_trimmed_event_announces_nothing() -> None:
    history = made(Retention(events=1))
    append(history, event(id="same"), event())
    receipt, stored = history.append(event(id="same"), now=0.0, time=1)
    assert (receipt.duplicate, stored) == (True, None)


def test_history_keeps_no_more_events_than_the_limit() -> None:
    history = made(Retention(events=3))
    append(history, *(event(id=str(n)) for n in range(1, 6)))
    assert [ids_after(history, n) for n in range(6)] == [
        "truncated", "truncated", "truncated", ["4", "5"], ["5"], []
    ]  # fmt: skip


def test_history_keeps_no_more_bytes_than_the_limit() -> None:
    history = made(Retention(bytes=30))
    append(history, *(event("x" * 8, id=str(n)) for n in range(1, 6)))
    assert ids_after(history, 3) == ["4", "5"]
    assert ids_after(history, 2) == "truncated"


def test_last_event_is_kept_at_any_size() -> None:
    history = made(Retention(bytes=1))
    append(history, event("a", id="a"), event("x" * 1000, id="b"))
    assert page_after(history, 2) == Page(events=(), top=Position(EPOCH, 2))
    assert ids_after(history, 1) == "truncated"


def test_history_expires_some_time_after_the_last_append() -> None:
    history = made(Retention(seconds=600))
    append(history, event(id="1"))
    append(history, event(id="2"), now=600)
    history.expire(1200)
    assert ids_after(history, 0) == ["1", "2"]
    history.expire(1200.1)
    assert ids_after(history, 0) == "truncated"
    assert ids_after(history, 2) == []
    append(history, event(id="3"), now=1300)
    assert ids_after(history, 2) == "truncated"
    assert ids_after(history, 3) == []


def test_top_outlives_history_and_unused_epoch_expires() -> None:
    unused, used = made(), made()
    append(used, event())
    assert (unused.expire(600), unused.expire(600.1)) == (False, True)
    assert (used.expire(7 * DAY), used.expire(7 * DAY + 1)) == (False, True)


def test_last_thousand_ids_are_known_at_any_age() -> None:
    history = made()
    append(history, *(event(id=str(n)) for n in range(1_001)))
    history.expire(DAY)
    assert not append(history, event(id="0"), now=DAY)[0].duplicate
    history.expire(DAY)
    assert append(history, event(id="2"), now=DAY)[0].duplicate
    assert append(history, event(id="1000"), now=DAY)[0].duplicate


def test_more_ids_are_known_for_five_minutes() -> None:
    history = made()
    append(history, *(event(id=str(n)) for n in range(3_000)))
    assert append(history, event(id="0"), now=300)[0].duplicate
    assert not append(history, event(id="0"), now=300.1)[0].duplicate


def test_ids_are_known_up_to_the_limit() -> None:
    history = made()
    append(history, *(event(id=str(n)) for n in range(MAX_IDS + 1)))
    assert append(history, event(id="1"))[0].duplicate
    assert not append(history, event(id="0"))[0].duplicate


def test_latest_event_per_key_outlives_the_history() -> None:
    history = made(Retention(events=1))
    append(history, event(1, key="a"), event(2, key="b"), event(3, key="a"), event(4), event(5))
    page = history.latest()
    assert [(event.key, event.data) for event in page.events] == [("b", 2), ("a", 3)]
    assert (page.top, page.more) == (Position(EPOCH, 5), False)
    assert [event.data for event in history.latest(after=2).events] == [3]
    assert history.latest(limit=1).more


def test_oldest_key_is_evicted_beyond_the_count() -> None:
    history = made()
    append(history, *(event(key=f"k{n}") for n in range(1_000)))
    append(history, event(key="k0"), event(key="new"))
    keys = _keys(history)
    assert len(keys) == 1_000
    assert {"k0", "new"} <= keys
    assert "k1" not in keys


def test_oldest_key_is_evicted_beyond_the_bytes() -> None:
    history = made()
    mebibyte = "x" * (MAX_DATA_BYTES - 2)
    append(history, *(event(mebibyte, key=key) for key in "abcd"))
    assert _keys(history) == {"a", "b", "c", "d"}
    append(history, event(mebibyte, key="a"), event(mebibyte, key="e"))
    assert _keys(history) == {"c", "d", "a", "e"}


def test_key_is_removed_a_week_after_its_last_event() -> None:
    history = made()
    append(history, event(key="a"))
    append(history, event(key="b"), now=DAY)
    history.expire(7 * DAY)
    assert _keys(history) == {"a", "b"}
    history.expire(7 * DAY + 1)
    assert _keys(history) == {"b"}


def _keys(history: History) -> set[str | None]:
    keys: set[str | None] = set()
    page = Page(events=(), top=history.top, more=True)
    while page.more:
        after = page.events[-1].position.offset if page.events and page.events[-1].position else 0
        page = history.latest(after=after)
        keys |= {event.key for event in page.events}
    return keys


def test_page_has_at_most_500_events_and_a_more_flag() -> None:
    history = made()
    append(history, *(event() for _ in range(PAGE_EVENTS + 1)))
    page = history.read(Position(EPOCH, 0), 10 * PAGE_EVENTS)
    assert isinstance(page, Page)
    assert (len(page.events), page.more) == (PAGE_EVENTS, True)
    rest = page_after(history, PAGE_EVENTS)
    assert isinstance(rest, Page)
    assert (len(rest.events), rest.more) == (1, False)


def test_page_has_at_most_512_kib_but_always_an_event() -> None:
    history = made(Retention(bytes=10 * MAX_DATA_BYTES))
    half, whole = "x" * (PAGE_BYTES // 2 - 2), "x" * (MAX_DATA_BYTES - 2)
    append(history, event(half), event(half), event(0), event(whole), event(1))
    sizes = []
    for offset in (0, 2, 3, 4):
        page = page_after(history, offset)
        assert isinstance(page, Page)
        sizes.append((len(page.events), page.more))
    assert sizes == [(2, True), (1, True), (1, True), (1, False)]


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (Position("other000", 1), "epoch"),
        (Position(EPOCH, 3), "ahead"),
        (Position(EPOCH, 2, "other"), "regressed"),
        (Position(EPOCH, 1, "other"), "regressed"),
    ],
)
def test_position_that_is_not_in_the_log_is_a_reset(position: Position, reason: str) -> None:
    history = made()
    append(history, event(id="e1"), event(id="e2"))
    answer = history.read(position)
    assert isinstance(answer, Reset)
    assert (answer.reason, answer.top.offset, answer.top.id) == (reason, 2, "e2")


@given(
    kept=st.integers(1, 9),
    appended=st.integers(0, 9),
    offset=st.integers(0, 12),
    knows=st.booleans(),
)
def test_position_is_answered_by_the_rules(
    kept: int, appended: int, offset: int, *, knows: bool
) -> None:
    history = made(Retention(events=kept))
    append(history, *(event(id=f"e{n}") for n in range(1, appended + 1)))
    answer = history.read(Position(EPOCH, offset, f"e{offset}" if knows else "other"))
    oldest = max(1, appended - kept + 1)
    if offset > appended:
        expected = "ahead"
    elif offset < appended and offset < oldest and not (offset == 0 and oldest == 1):
        expected = "truncated"
    elif offset and not knows:
        expected = "regressed"
    else:
        assert isinstance(answer, Page)
        assert [one.id for one in answer.events] == [
            f"e{n}" for n in range(offset + 1, appended + 1)
        ]
        return
    assert answer == Reset(reason=expected, top=history.top)  # type: ignore[arg-type]


class HistoryModel(RuleBasedStateMachine):
    """A history beside a plain list of all that was ever appended."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.touched = 0.0
        self.kept: list[int] = []
        self.retention = Retention(events=5, bytes=60, seconds=100)
        self.history = made(self.retention)
        self.appended: list[Event] = []

    @rule(size=st.integers(0, 40), key=st.sampled_from([None, "a", "b"]))
    def append(self, size: int, key: str | None) -> None:
        one = event("x" * size, key=key)
        receipt, _ = self.history.append(one, now=self.now, time=1)
        self.appended.append(one)
        self.touched = self.now
        self.kept.append(len(self.appended))
        while len(self.kept) > 1 and self._too_much():
            self.kept.pop(0)
        assert receipt == Receipt(id=one.id, position=Position(EPOCH, len(self.appended)))

    @precondition(lambda self: self.appended)
    @rule(data=st.data())
    def append_again(self, data: st.DataObject) -> None:
        offset = data.draw(st.integers(1, len(self.appended)))
        receipt, stored = self.history.append(
            event("other", id=self.appended[offset - 1].id), now=self.now, time=1
        )
        assert receipt.duplicate
        assert receipt.position == Position(EPOCH, offset)
        if stored:
            assert stored.body == self.appended[offset - 1].body

    @rule(seconds=st.floats(0, 60))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.history.expire(self.now)
        if self.now - self.touched > self.retention.seconds:
            self.kept = []

    def _too_much(self) -> bool:
        size = sum(len(self.appended[offset - 1].body) for offset in self.kept)
        return len(self.kept) > self.retention.events or size > self.retention.bytes

    @rule(data=st.data(), limit=st.integers(1, 6))
    def read(self, data: st.DataObject, limit: int) -> None:
        offset = data.draw(st.integers(0, len(self.appended)))
        guard = self.appended[offset - 1].id if offset else None
        answer = self.history.read(Position(EPOCH, offset, guard), limit)
        if isinstance(answer, Reset):
            assert answer == Reset(reason="truncated", top=self.history.top)
            assert offset < len(self.appended)
            return
        rest = self.appended[offset:]
        assert [one.id for one in answer.events] == [one.id for one in rest[:limit]]
        assert answer.more == (len(rest) > limit)

    @invariant()
    def the_top_is_the_last_event(self) -> None:
        assert self.history.top.offset == len(self.appended)
        assert self.history.top.id == (self.appended[-1].id if self.appended else None)

    @invariant()
    def exactly_what_may_be_kept_can_be_read_on_from(self) -> None:
        top = len(self.appended)
        readable = {
            offset
            for offset in range(top + 1)
            if isinstance(page_after(self.history, offset), Page)
        }
        start = {0} if not top or 1 in self.kept else set()
        assert readable == {top, *self.kept, *start}

    @invariant()
    def the_latest_of_each_key_is_known(self) -> None:
        latest = {one.key: one.id for one in self.appended if one.key}
        assert {one.key: one.id for one in self.history.latest().events} == latest


TestHistoryModel = HistoryModel.TestCase
TestHistoryModel.settings = settings(max_examples=60, stateful_step_count=40)
