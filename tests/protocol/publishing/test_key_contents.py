"""Items and leases of keys with owners that end with the history, or with their key."""

from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import History
from realtime_bridge.protocol.publishing.latest_keys import MAX_KEYS

LEASE = 30


def write(key: str, data: Any = None, **change: Any) -> Event:
    return Event(channel="job.7", event="job.step", data=data, key=key, **change)


def make() -> History:
    return History("k3v9q2wz", now=0.0, retention=Retention(seconds=600))


def append(history: History, event: Event, now: float = 0.0) -> None:
    assert not history.append(event, now=now, time=1)[0].refused


def contents(history: History) -> list[Any]:
    return [event.data for event in history.latest(key="a").events]


def test_items_are_removed_with_the_history_and_begin_again_with_the_key() -> None:
    history = make()
    append(history, write("a", "first", attempt="A", take="always"))
    append(history, write("a", [1, 2], attempt="A", fold="append"))
    assert contents(history) == ["first", [1, 2]]
    whole = history.size
    history.expire(600)
    assert contents(history) == ["first", [1, 2]]
    history.expire(601)
    assert contents(history) == ["first"]
    assert history.size < whole
    # Without the first items, the later ones would look like all of them.
    append(history, write("a", [3], attempt="A", fold="append"), now=602)
    assert contents(history) == ["first"]
    append(history, write("a", "second", attempt="B", take="always"), now=603)
    append(history, write("a", [4], attempt="B", fold="append"), now=603)
    assert contents(history) == ["second", [4]]


def test_renewed_lease_keeps_the_items() -> None:
    history = make()
    will = {"event": "job.lost"}
    append(history, write("a", "first", attempt="A", take="always", lease=LEASE, will=will))
    append(history, write("a", [1], attempt="A", fold="append"))
    for now in range(0, 620, LEASE // 2):
        assert history.renew("a", "A", now).refused is None
    history.expire(620)
    assert contents(history) == ["first", [1]]


def test_key_without_items_keeps_what_it_has() -> None:
    history = make()
    append(history, write("a", "first", attempt="A", take="always"))
    history.expire(601)
    append(history, write("a", [1], attempt="A", fold="append"), now=602)
    assert contents(history) == ["first", [1]]


def test_lease_of_an_evicted_key_ends_nothing() -> None:
    history = make()
    will = {"event": "job.lost"}
    append(history, write("a", attempt="A", take="always", lease=LEASE, will=will))
    for number in range(MAX_KEYS):
        append(history, write(f"k{number}"), now=1)
    assert history.lapse(LEASE + 1, 1) == []
    assert contents(history) == []
