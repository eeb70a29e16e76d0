"""Groups of keys: pages that are read while events arrive, and the bytes of merged parts."""

from itertools import count, groupby
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_bridge.model.event import Event
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import History

CHANNEL = "job.7"
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "started": {"attempt": "A", "take": "always"},
    "part": {"attempt": "A", "fold": "append", "data": [1]},
    "ended": {"attempt": "A", "fold": "end"},
    "note": {"fold": "note"},
}

writes = st.tuples(st.sampled_from("abcdef"), st.sampled_from([*KINDS]))
ITEMS: tuple[Any, ...] = (
    None,
    True,
    0,
    -1.5,
    "",
    ",",
    '"],["',
    "Grüße 🚀",
    "\\",
    [],
    [[]],
    {},
    {"a": [None, "]"]},
)


class Log:
    """History, and all its events."""

    def __init__(self) -> None:
        self.history = History("k3v9q2wz", now=0.0, retention=Retention(seconds=10**9))
        self.events: list[Event] = []
        self._numbers = count()

    def write(self, key: str, kind: str, **fields: Any) -> None:
        given = {"event": kind, "data": None, "id": f"e{next(self._numbers)}", "key": key}
        event = Event(channel=CHANNEL, **{**given, **KINDS[kind], **fields})
        _, stored = self.history.append(event, now=0.0, time=1)
        if stored:
            self.events.append(stored)


class Reader:
    """Base, end and newest note of each key, as of the page that had the key."""

    def __init__(self) -> None:
        self.keys: dict[str, dict[str | None, str]] = {}

    def apply(self, event: Event) -> None:
        assert event.key
        key = self.keys.setdefault(event.key, {})
        if event.fold in (None, "append"):
            key.pop("end", None)
        if event.fold == "end":
            key.pop("note", None)
        if event.fold != "append":
            key[event.fold] = event.id


def read_pages(
    log: Log, between: list[list[tuple[str, str]]]
) -> dict[str, tuple[list[Event], int]]:
    """Read all pages while events arrive; return each key's group and the top of its page."""
    groups: dict[str, tuple[list[Event], int]] = {}
    after, more = 0, True
    while more:
        page = log.history.latest(after=after, limit=2)
        for key, group in groupby(page.events, lambda event: event.key or ""):
            groups[key] = [*group], page.top.offset
        if page.events and (last := page.events[-1].position):
            after = last.offset
        more = page.more
        for write in between.pop(0) if between else ():
            log.write(*write)
    return groups


@settings(deadline=None)
@given(before=st.lists(writes, max_size=20), between=st.lists(st.lists(writes, max_size=4)))
def test_pages_that_are_read_while_events_arrive_have_every_key(
    before: list[tuple[str, str]], between: list[list[tuple[str, str]]]
) -> None:
    log, everything = Log(), Reader()
    for write in before:
        log.write(*write)
    first_top = log.history.top.offset
    groups = read_pages(log, between)
    for event in log.events:
        everything.apply(event)
    for key, state in everything.keys.items():
        group, top = groups.get(key, ([], first_top))
        reader = Reader()
        for event in (*group, *(event for event in log.events[top:] if event.key == key)):
            reader.apply(event)
        assert reader.keys[key] == state


@settings(deadline=None)
@given(parts=st.lists(st.lists(st.sampled_from(ITEMS), max_size=4), min_size=1, max_size=8))
def test_merged_parts_are_the_json_of_all_items(parts: list[list[Any]]) -> None:
    log = Log()
    log.write("a", "started")
    for items in parts:
        log.write("a", "part", data=items)
    merged = log.history.latest(key="a").events[-1]
    assert merged.body == orjson.dumps([item for items in parts for item in items])
