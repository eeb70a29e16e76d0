"""What to tell of a job, and when: the first end stays, progress waits its turn."""

from realtime_bridge.protocol.job_life import PENDING_LIMIT, PROGRESS_INTERVAL, JobLife


def told(life: JobLife, now: float) -> list[str]:
    names = []
    while telling := life.take(now, 0):
        names.append(telling.event)
        life.told(telling)
    return names


def test_the_first_end_stays() -> None:
    life = JobLife("a1", title="A job")
    life.change("cancelled", 0)
    life.change("completed", 0)
    life.move()
    assert told(life, 0) == ["job.cancelled"]
    assert life.due(100) is None


def test_progress_is_due_an_interval_after_the_last() -> None:
    life = JobLife("a1", title="A job")
    life.move()
    assert told(life, 10) == ["job.progress"]
    life.move()
    assert life.due(10) == PROGRESS_INTERVAL
    assert told(life, 10) == []
    assert told(life, 10 + PROGRESS_INTERVAL) == ["job.progress"]


def test_progress_before_a_change_is_told_before_it() -> None:
    life = JobLife("a1", title="A job")
    life.move()
    life.change("completed", 0)
    assert told(life, 0) == ["job.progress", "job.completed"]


def test_versions_grow_even_where_the_clock_does_not() -> None:
    life = JobLife("a1", title="A job")
    life.change("started", 1_000)
    life.change("completed", 900)
    first = life.take(0, 0)
    assert first
    life.told(first)
    second = life.take(0, 0)
    assert second
    assert (first.data["version"], second.data["version"]) == (1_000, 1_001)


def test_what_waits_is_bounded_and_the_newest_is_kept() -> None:
    life = JobLife("a1", title="A job")
    for _ in range(PENDING_LIMIT):
        life.change("retrying", 0)
    life.change("failed", 0)
    names = told(life, 0)
    assert (len(names), names[-1]) == (PENDING_LIMIT, "job.failed")
