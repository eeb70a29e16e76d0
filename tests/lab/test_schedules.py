"""Values of schedules, and the lab's list of them."""

from collections import Counter

import pytest

from tests.lab.schedule import KINDS, Fault, Schedule, repeat
from tests.lab.schedules import SELECTION, SOAKED, find, schedules, soaks


def test_names_are_unique() -> None:
    counts = Counter(schedule.name for schedule in schedules())
    assert [name for name, count in counts.items() if count > 1] == []


def test_every_kind_of_fault_is_used() -> None:
    used = {fault.kind for schedule in schedules() for fault in schedule.faults}
    assert used == {*KINDS}


def test_duration_is_the_end_of_the_last_fault() -> None:
    faults = repeat(3, 20, Fault(1, 10, "reset", "front"))
    assert Schedule(name="a", backend="redis", faults=faults).duration == 51


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("burn", "front"),
        ("kill", "front"),
        ("freeze", "log:"),
        ("502", "path"),
        ("pause", "node:0"),
    ],
)
def test_unknown_kind_or_target_is_refused(kind: str, target: str) -> None:
    with pytest.raises(ValueError, match=f"'({kind}|{target})'"):
        Fault(0, 1, kind, target)


def test_overlapping_faults_of_one_link_are_refused() -> None:
    faults = (Fault(0, 5, "freeze", "front"), Fault(4, 5, "slow", "front"))
    with pytest.raises(ValueError, match="slow front for 5 s begins within freeze front"):
        Schedule(name="a", backend="redis", faults=faults)


def test_schedules_are_found_by_pattern() -> None:
    names = [schedule.name for schedule in find(["redis-kill*"], is_long=False)]
    assert names == ["redis-kill", "redis-kill-publisher"]
    assert not any(schedule.is_long for schedule in find([], is_long=False))
    with pytest.raises(ValueError, match="no schedule matches nothing"):
        find(["nothing"], is_long=False)


def test_soaks_share_their_time_and_are_found_by_pattern() -> None:
    assert [one.name for one in soaks([], 600, crowd=1)] == [f"{log}-soak" for log in SOAKED]
    (sqlite,) = soaks(["sqlite-*"], 600, crowd=1)
    assert 500 < sqlite.duration <= 600
    assert not [fault for fault in sqlite.faults if fault.target.startswith(("log", "server"))]
    with pytest.raises(ValueError, match="no soak matches nothing"):
        soaks(["nothing"], 600, crowd=1)


def test_selection_names_schedules() -> None:
    assert {*SELECTION} <= {schedule.name for schedule in schedules()}
