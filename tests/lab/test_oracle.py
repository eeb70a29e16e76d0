"""Histories with a violation, and the oracle's verdict on each."""

from collections.abc import Iterable

from tests.lab.history import History, Kind, Record
from tests.lab.oracle import DOORS, Verdict, is_recovered, judge
from tests.lab.schedule import Fault, Limits, Schedule
from tests.lab.view import ClientView

START, END = 1_000.0, 1_100.0


def acknowledged(at: float, offset: int, *, epoch: str = "a", id_: str = "") -> Record:
    name = id_ or f"{epoch}{offset}"
    return Record(at, "publisher", "acknowledged", "job", name, epoch, offset)


def client(at: float, kind: Kind, offset: int = 0, *, epoch: str = "a", id_: str = "") -> Record:
    name = (id_ or f"{epoch}{offset}") if kind == "event" else ""
    return Record(at, "py-auto-0", kind, "job", name, epoch, offset)


def status(at: float, text: str, source: str = "py-auto-0") -> Record:
    return Record(at, source, "status", text=text)


def started() -> list[Record]:
    return [
        status(START - 2, "realtime"),
        client(START - 1, "start"),
        Record(START, "py-auto-0", "ready"),
    ]


def healed(at: float) -> Record:
    return Record(at, "refuse", "healed", text="refuse front")


def verdict(records: Iterable[Record], limits: Limits | None = None, end: float = END) -> Verdict:
    schedule = Schedule(
        name="test",
        backend="redis",
        faults=(Fault(0, 1, "refuse", "front"),),
        limits=limits or Limits(resets=None),
    )
    return judge(History(list(records)), schedule, end)


def rules(records: Iterable[Record], limits: Limits | None = None, end: float = END) -> list[str]:
    return [violation.rule for violation in verdict(records, limits, end).violations]


def test_events_in_order_are_accepted() -> None:
    records = [*started(), acknowledged(1_001, 1), client(1_001.1, "event", 1)]
    found = verdict([*records, acknowledged(1_002, 2), client(1_002.1, "event", 2)])
    assert found.is_ok
    assert (found.acknowledged, found.delivered, found.resets) == (2, 2, 0)


def test_missing_event_before_a_later_one_is_a_gap() -> None:
    records = [*started(), acknowledged(1_001, 1), acknowledged(1_002, 2)]
    assert rules([*records, client(1_003, "event", 2)], end=1_004.0)[:2] == ["lost", "gap"]


def test_gap_after_a_reset_is_accepted() -> None:
    records = [*started(), acknowledged(1_001, 1), acknowledged(1_002, 2)]
    records += [client(1_002.5, "reset", 1), client(1_003, "event", 2)]
    assert rules(records) == []


def test_reset_before_the_missing_event_does_not_cover_it() -> None:
    records = [*started(), acknowledged(1_001, 1), acknowledged(1_002, 2)]
    records += [client(1_002.5, "reset", 1)]
    assert rules(records, end=1_004.0) == ["lost"]


def test_reset_to_a_newer_epoch_covers_older_events() -> None:
    records = [*started(), acknowledged(1_001, 1), acknowledged(1_002, 1, epoch="b")]
    records += [client(1_002.1, "reset", 0, epoch="b"), client(1_002.2, "event", 1, epoch="b")]
    assert rules(records) == []


def test_reset_to_an_older_epoch_covers_no_newer_event() -> None:
    records = [*started(), acknowledged(1_001, 1), acknowledged(1_002, 1, epoch="b")]
    records += [client(1_001.1, "event", 1), client(1_003, "reset", 1)]
    assert rules(records, end=1_004.0) == ["lost"]


def test_other_epoch_without_reset_is_a_gap() -> None:
    records = [*started(), acknowledged(1_001, 1), client(1_001.1, "event", 1)]
    records += [acknowledged(1_002, 2, epoch="b"), client(1_002.1, "event", 2, epoch="b")]
    assert rules(records) == ["gap"]


def test_event_that_arrives_twice_is_a_duplicate() -> None:
    records = [*started(), acknowledged(1_001, 1)]
    records += [client(1_001.1, "event", 1), client(1_001.2, "event", 1)]
    assert rules(records) == ["duplicate"]


def test_event_that_arrives_twice_around_a_reset_is_a_duplicate() -> None:
    records = [*started(), acknowledged(1_001, 1), client(1_001.1, "event", 1)]
    records += [client(1_002, "reset", 4), client(1_003, "event", 5, id_="a1")]
    assert rules(records) == ["duplicate"]


def test_snapshot_is_accepted_after_a_reset_only() -> None:
    records = [*started(), acknowledged(1_001, 1), acknowledged(1_002, 2)]
    snapshot = client(1_003, "snapshot", 2)
    assert rules([*records, client(1_002.5, "reset", 1), snapshot]) == []
    assert rules([*records, client(1_001.1, "event", 1), snapshot]) == ["gap"]


def test_position_with_two_events_is_a_merged_history() -> None:
    records = [*started(), acknowledged(1_001, 1), client(1_001.1, "event", 1, id_="other")]
    assert "merged" in rules(records)


def test_silent_and_green_client_is_found() -> None:
    records = [*started(), acknowledged(1_001, 1), client(1_019.5, "event", 1)]
    found = verdict(records)
    assert found.silent_green == 18.5
    assert [violation.rule for violation in found.violations] == ["silent"]


def test_silence_without_a_missing_event_is_accepted() -> None:
    records = [*started(), acknowledged(1_060, 1), client(1_060.5, "event", 1)]
    assert verdict(records).silent_green == 0.5


def test_polling_client_is_not_green() -> None:
    records = [*started(), acknowledged(1_001, 1), status(1_011, "polling")]
    records += [client(1_021, "event", 1), status(1_031, "realtime")]
    found = verdict(records)
    assert found.silent_green == 10
    assert found.is_ok


def test_receipts_on_the_channel_interrupt_the_silence() -> None:
    records = [*started(), *(acknowledged(1_001, n) for n in range(1, 4))]
    records += [client(1_001 + 10 * n, "event", n) for n in range(1, 4)]
    assert verdict(records).silent_green == 10


def test_receipts_on_another_channel_do_not_interrupt_it() -> None:
    records = [*started(), acknowledged(1_001, 1)]
    start = Record(START - 1, "py-auto-0", "start", "other", epoch="z")
    events = [
        Record(1_001.0 + n, "py-auto-0", "event", "other", f"z{n}", "z", n) for n in range(1, 30)
    ]
    assert rules([start, *records, *events, client(1_030.5, "event", 1)]) == ["silent"]


def test_silence_until_the_end_is_found() -> None:
    assert rules([*started(), acknowledged(1_050, 1)])[:2] == ["lost", "silent"]


def test_slow_recovery_is_found() -> None:
    records = [*started(), healed(1_010), acknowledged(1_011, 1), status(1_011.5, "polling")]
    records += [client(1_045, "event", 1), status(1_050, "realtime")]
    found = verdict(records)
    assert (found.current, found.green) == (35, 40)
    assert [violation.rule for violation in found.violations] == ["current", "green"]


def test_client_that_never_turns_green_is_found() -> None:
    records = [*started(), healed(1_095), status(1_096, "polling")]
    assert rules(records) == ["green"]


def test_client_that_starts_in_the_last_moment_may_still_connect() -> None:
    others = [*started(), healed(1_010)]
    assert rules([*others, status(END - 1, "connecting", "crowd-auto-0.7")]) == []
    assert rules([*others, status(END - 70, "connecting", "crowd-auto-0.7")]) == ["green"]


def test_client_of_polls_is_healthy_when_it_polls() -> None:
    records = [status(START, "polling", "npm-poll-1"), Record(START, "npm-poll-1", "ready")]
    assert rules([*records, healed(1_010)]) == []


def test_each_fault_has_its_own_limit() -> None:
    records = [*started(), healed(1_010), acknowledged(1_011, 1), client(1_022, "event", 1)]
    records += [healed(1_050), acknowledged(1_051, 2), client(1_051.1, "event", 2)]
    assert rules(records) == []
    assert rules(records, Limits(each=10, resets=None)) == ["current"]
    next_fault = Record(1_012, "refuse", "fault")
    assert rules([*records, next_fault], Limits(each=10, resets=None)) == []


def test_late_event_on_another_channel_is_found() -> None:
    records = [*started(), acknowledged(1_001, 1), client(1_003, "event", 1)]
    assert rules(records, Limits(delay=1)) == ["late"]


def test_missing_and_unexpected_resets_are_found() -> None:
    assert rules(started(), Limits(resets=frozenset({"job"}))) == ["reset"]
    records = [*started(), client(1_001, "reset", 1)]
    assert rules(records, Limits(resets=frozenset())) == ["reset"]
    assert rules(records, Limits(resets=frozenset({"job"}))) == []


def test_publish_that_takes_long_or_raises_is_found() -> None:
    slow = Record(1_010, "publisher", "failed", "job", "a1", seconds=6)
    raised = Record(1_010, "publisher", "raised", "job", "a1", text="KeyError: 1")
    assert rules([*started(), slow]) == ["publish"]
    assert rules([*started(), raised]) == ["error"]


def test_publisher_that_stops_with_the_fault_is_found() -> None:
    records = [*started(), acknowledged(1_001, 1), client(1_001.1, "event", 1), healed(1_010)]
    assert rules(records) == ["publish"]


def test_failed_first_publish_after_a_restart_is_found() -> None:
    failed = Record(1_010.5, "publisher", "failed", "job", "a1", seconds=0.1, text="refused")
    during = Record(1_010.5, "publisher", "failed", "job", "a1", seconds=2.0, text="refused")
    limits = Limits(first_publish=True)
    assert rules([*started(), healed(1_010), failed], limits) == ["publish"]
    assert rules([*started(), healed(1_010), during], limits) == []


def test_many_log_lines_and_a_traceback_are_found() -> None:
    lines = [Record(1_001, "node:0", "line", text=f"line {n}") for n in range(40)]
    assert rules([*started(), *lines]) == ["log"]
    traceback = Record(1_001, "node:0", "line", text="Traceback (most recent call last):")
    assert rules([*started(), traceback]) == ["log"]


def test_growing_memory_is_found() -> None:
    sizes = [100, 120, 140, 140, 140, 140, 150, 150, 150]
    samples = [Record(START + n, "node:0", "memory", size=size) for n, size in enumerate(sizes)]
    assert rules([*started(), *samples], Limits(growth=0.05, resets=None)) == ["memory"]
    assert rules([*started(), *samples], Limits(growth=0.08, resets=None)) == []


def doors(records: Iterable[Record]) -> list[str]:
    schedule = Schedule(
        name="test", backend="redis", faults=(), limits=Limits(resets=None), has_doors=True
    )
    return [found.source for found in judge(History(list(records)), schedule, END).violations]


def test_closed_door_and_event_without_delivery_are_found() -> None:
    visits = [Record(END - 10, door, "visited") for door in DOORS]
    records = [*started(), acknowledged(1_001, 1), client(1_001.1, "event", 1)]
    delivery = Record(1_002, "outlet", "delivered", "job", "a1")
    assert doors([*records, *visits, delivery]) == []
    assert doors([*records, *visits]) == ["outlet"]
    early = Record(END - 40, DOORS[0], "visited")
    assert doors([*records, *visits[1:], early, delivery]) == [DOORS[0]]


def test_plain_stream_is_healthy_while_it_is_open() -> None:
    records = [status(START, "open", "plain-0"), status(START, "open")]
    kinds = {name: ClientView(name, own, END) for name, own in History(records).by_client().items()}
    assert [kinds[name].is_healthy for name in ("plain-0", "py-auto-0")] == [True, False]


def test_ended_client_is_not_judged_afterwards() -> None:
    end = Record(1_010, "py-auto-0", "end")
    assert rules([*started(), end, acknowledged(1_020, 1)]) == []


def test_recovery_needs_all_events_and_health() -> None:
    records = [*started(), acknowledged(1_001, 1)]
    assert is_recovered(History(records), 1_002)  # too young to be missing
    assert not is_recovered(History(records), 1_010)
    records.append(client(1_010, "event", 1))
    assert is_recovered(History(records), 1_011)
    records.append(status(1_012, "polling"))
    assert not is_recovered(History(records), 1_013)
