"""The lab's schedules."""

from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import cycle

from tests.lab.schedule import ANSWERS, CHANNELS, ROUTES, Backend, Fault, Limits, Schedule, repeat

BACKENDS: tuple[Backend, ...] = ("redis", "postgres")
SOAKED: tuple[Backend, ...] = (*BACKENDS, "sqlite")

SELECTION = (
    "redis-kill",
    "redis-wipe",
    "redis-502-ws",
    "postgres-end-feeds",
    "postgres-kill-publisher",
)
"""Schedules of the test suite, under two minutes together."""

LOST_LOG = Limits(silent_green=20, current=20)
"""A node without its log: clients notice within 20 s, and have everything 20 s after the end."""

BANNED = Limits(green=62)
"""Several short connections: clients use polling for 60 s, and then connect."""

ODD = Limits(delay=1.0, resets=None)
"""An odd event on one channel does not delay the others."""

LOST_EVENT = Limits(delay=1.0, resets=frozenset({"job.0"}))
"""An event that no node can read: its channel gets a reset."""


def schedules() -> Iterator[Schedule]:
    """Yield all schedules."""
    yield from _lost_logs()
    yield from _resets()
    yield from _odd_events()
    yield from _servers()
    yield from _fronts()
    yield from _answers()
    yield from _nodes()
    yield from _mixed()


def soaks(names: list[str], seconds: float, *, crowd: int) -> list[Schedule]:
    """Return the soaks that match one of the patterns, or all; together they last some seconds."""
    chosen = [
        backend
        for backend in SOAKED
        if not names or any(fnmatch(f"{backend}-soak", name) for name in names)
    ]
    if not chosen:
        raise ValueError(f"no soak matches {', '.join(names)}")
    return [soak(backend, seconds / len(chosen), crowd=crowd) for backend in chosen]


def soak(backend: Backend, seconds: float, *, crowd: int) -> Schedule:
    """Return a schedule with a crowd that comes and goes, all doors, and a fault in each minute.

    No node is killed: the memory of one process is compared over time. A log in a file has no
    link that could fail.
    """
    kinds = [
        ("freeze", "log:0", 15),
        ("reset", "log:1", 10),
        ("lose_up", "log:0", 10),
        ("slow", "front", 10),
        ("502", "ws", 10),
        ("refuse", "log:*", 5),
        ("stop", "node:0", 10),
        ("crash", "server", 3),
        ("kill_publisher", "publisher", 2),
    ]
    if backend == "sqlite":
        kinds = [one for one in kinds if not one[1].startswith(("log", "server"))]
    faults = (
        Fault(minute * 60.0 + 20, lasts, kind, target)
        for minute, (kind, target, lasts) in zip(
            range(int(seconds // 60)), cycle(kinds), strict=False
        )
    )
    return Schedule(
        name=f"{backend}-soak",
        backend=backend,
        faults=(*faults,),
        crowd=crowd,
        rates={f"job.{number}": 0.2 for number in range(50)},
        limits=Limits(green=60, resets=None, growth=0.05),
        is_long=True,
        has_doors=True,
    )


def find(names: list[str], *, is_long: bool) -> list[Schedule]:
    """Return the schedules that match one of the patterns, such as `redis-*`, or all short ones."""
    every = list(schedules())
    chosen = [
        schedule
        for schedule in every
        if any(fnmatch(schedule.name, name) for name in names)
        or (not names and (is_long or not schedule.is_long))
    ]
    if not chosen:
        known = ", ".join(schedule.name for schedule in every)
        raise ValueError(f"no schedule matches {', '.join(names)}: {known}")
    return chosen


def _lost_logs() -> Iterator[Schedule]:
    for backend in BACKENDS:
        for kind in ("refuse", "freeze", "lose_up", "lose_down"):
            name = f"{backend}-log-{kind.replace('_', '-')}"
            faults = (Fault(0, 60, kind, "log:0"),)
            yield Schedule(name=name, backend=backend, faults=faults, limits=LOST_LOG, is_long=True)
        yield Schedule(
            name=f"{backend}-log-refuse-short",
            backend=backend,
            faults=(Fault(0, 12, "refuse", "log:0"),),
            limits=LOST_LOG,
        )
        yield Schedule(
            name=f"{backend}-log-freeze-short",
            backend=backend,
            faults=(Fault(0, 25, "freeze", "log:0"),),
            limits=LOST_LOG,
        )


def _resets() -> Iterator[Schedule]:
    each = Limits(each=10, current=20)
    for backend in BACKENDS:
        for times, name in ((2, "reset-twice"), (20, "reset-20")):
            yield Schedule(
                name=f"{backend}-{name}",
                backend=backend,
                faults=repeat(times, 22, Fault(0, 10, "reset", "log:*")),
                limits=each,
                is_long=times > 2,
            )
        yield Schedule(
            name=f"{backend}-publishes-under-resets",
            backend=backend,
            faults=repeat(20, 2, Fault(0, 1, "reset", "log:publisher")),
            rates={"job.0": 10, "job.1": 10},
        )


def _odd_events() -> Iterator[Schedule]:
    for backend in BACKENDS:
        for kind in ("garbage", "newlines", "surrogate"):
            yield Schedule(
                name=f"{backend}-{kind}",
                backend=backend,
                faults=repeat(2, 4, Fault(0, 0, kind, "job.0")),
                limits=LOST_EVENT if (backend, kind) == ("postgres", "garbage") else ODD,
            )


def _servers() -> Iterator[Schedule]:
    for backend in BACKENDS:
        for kind in ("shutdown", "crash"):
            yield Schedule(
                name=f"{backend}-{kind}",
                backend=backend,
                faults=(Fault(0, 5, kind, "server"),),
                limits=Limits(first_publish=True, current=20),
            )
        yield Schedule(
            name=f"{backend}-wipe",
            backend=backend,
            faults=(Fault(0, 0, "wipe", "server"),),
            limits=Limits(current=20, resets=frozenset(CHANNELS)),
        )
        yield Schedule(
            name=f"{backend}-end-feeds",
            backend=backend,
            faults=(Fault(0, 0, "end_feeds", "server"),),
            limits=Limits(current=10, green=20),
        )
        yield Schedule(
            name=f"{backend}-pause",
            backend=backend,
            faults=(Fault(0, 20, "pause", "server"),),
            limits=Limits(current=20),
        )
        yield Schedule(
            name=f"{backend}-lose-all-links",
            backend=backend,
            faults=(Fault(0, 20, "lose", "log:*"),),
            limits=Limits(current=20),
        )
        yield Schedule(
            name=f"{backend}-slow-links",
            backend=backend,
            faults=(Fault(0, 20, "slow", "log:*"),),
            limits=Limits(current=20),
        )


def _fronts() -> Iterator[Schedule]:
    paging = (
        Fault(0, 10, "refuse", "front"),
        Fault(1, 0, "burst", "job.0"),
        Fault(10, 15, "lose_paging", "front"),
    )
    # Current 25 s after the clients can connect again: 10 s after the fault of 15 s.
    yield Schedule(
        name="redis-lose-up-in-paging",
        backend="redis",
        faults=paging,
        limits=Limits(current=10, green=60),
    )
    for kind in ("lose_up", "lose_down", "freeze", "slow"):
        yield Schedule(
            name=f"redis-front-{kind.replace('_', '-')}",
            backend="redis",
            faults=(Fault(0, 20, kind, "front"),),
        )
    yield Schedule(
        name="redis-front-reset-often",
        backend="redis",
        faults=repeat(4, 6, Fault(0, 1, "reset", "front")),
        limits=BANNED,
    )


def _answers() -> Iterator[Schedule]:
    for answer in ANSWERS:
        for route in ROUTES:
            faults: tuple[Fault, ...] = (Fault(0, 10, answer, route),)
            if route in ("connect", "poll", "latest"):  # used by clients that lost a connection
                faults += (Fault(0.5, 0.5, "reset", "front"),)
            yield Schedule(
                name=f"redis-{answer}-{route}",
                backend="redis",
                faults=faults,
                limits=BANNED,
                is_long=True,
            )
        faults = tuple(Fault(n * 11.0, 10, answer, route) for n, route in enumerate(ROUTES))
        yield Schedule(
            name=f"redis-{answer}-each-route", backend="redis", faults=faults, limits=BANNED
        )


def _nodes() -> Iterator[Schedule]:
    rolling = (Fault(0, 0, "restart", "node:0"), Fault(20, 0, "restart", "node:1"))
    starving = (Fault(0, 15, "few_files", "node:0"), Fault(0, 15, "few_files", "node:1"))
    for backend in BACKENDS:
        yield _node_schedule(f"{backend}-kill", backend, Fault(0, 5, "kill", "node:0"))
        yield _node_schedule(f"{backend}-stop", backend, Fault(0, 20, "stop", "node:0"))
        yield _node_schedule(f"{backend}-rolling-restart", backend, *rolling)
        yield _node_schedule(
            f"{backend}-kill-publisher",
            backend,
            *(Fault(n * 3.0, 1, "kill_publisher", "publisher") for n in range(4)),
            *(Fault(n * 3.0 - 0.05, 0, "burst", "job.1") for n in range(1, 4)),
        )
    yield _node_schedule("redis-few-files", "redis", *starving)


def _node_schedule(name: str, backend: Backend, *faults: Fault) -> Schedule:
    return Schedule(name=name, backend=backend, faults=faults)


def _mixed() -> Iterator[Schedule]:
    faults = (
        Fault(0, 10, "freeze", "log:0"),
        Fault(5, 10, "slow", "front"),
        Fault(20, 10, "refuse", "log:1"),
        Fault(22, 5, "kill", "node:0"),
        Fault(35, 5, "crash", "server"),
        Fault(45, 0, "burst", "job.0"),
        Fault(46, 5, "lose_up", "front"),
        Fault(55, 10, "502", "ws"),
        Fault(60, 2, "kill_publisher", "publisher"),
        Fault(66, 10, "stop", "node:1"),
    )
    for backend in BACKENDS:
        yield Schedule(
            name=f"{backend}-mixed",
            backend=backend,
            nodes=3,
            faults=faults,
            limits=BANNED,
            is_long=True,
        )
