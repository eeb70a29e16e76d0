"""Faults of a simulated deployment: given by a test, or drawn from a seed."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

CLIENT_FAULTS = (
    *("cut", "half_open", "black_hole", "refuse", "slow", "throttle", "sleep", "busy_handler"),
    *("proxy_200", "proxy_302", "proxy_400", "proxy_403", "proxy_404", "proxy_502"),
    *("log_out", "reload"),
)
"""Faults of one client, or of its way to the server."""

NODE_FAULTS = (
    *("kill", "freeze", "restart", "log_refused", "log_black_hole", "log_raises", "feed_lost"),
    *("feed_raises", "lost_answers", "lost_announcements", "repeated_announcements"),
    *("late_announcements", "shuffled_announcements", "slow_log"),
)
"""Faults of one server, or of its way to the log."""

SHARED_FAULTS = (
    *("new_epoch", "roll_back", "fail_over", "log_full"),
    *("kill_worker", "freeze_worker", "worker_log_refused", "lose_zone", "deploy"),
)
"""Faults that affect all servers, or the workers."""

RARE_FAULTS = ("revoke",)
"""Faults that end a client's part in the simulation, and are drawn seldom for that reason."""

SECRET_FAULTS = ("rotate_secret", "replace_secret")
"""Faults in which all programs get another secret; a source of its own draws them."""

SECRET_SHARE = 0.1
"""Share of deployments that have one of them."""

WORKER_FAULTS = ("kill_worker", "freeze_worker", "freeze_worker", "worker_log_refused")
"""Faults that streams and tasks notice most."""

WORKER_SHARE = 0.5
"""Share of deployments with streams or tasks that have one of them more."""

FREQUENT = (
    *("feed_lost", "feed_lost", "log_refused", "late_announcements"),
    *("shuffled_announcements", "lost_announcements", "lost_announcements"),
)
"""Faults that are drawn more often, because their effects depend on the moment."""

GROUPS = (
    *(("roll_back", "kill_worker"), ("roll_back", "lost_answers"), ("new_epoch", "lost_answers")),
    *(("restart", "new_epoch"), ("black_hole", "roll_back"), ("cut", "new_epoch")),
    *(("reload", "new_epoch"), ("lost_announcements", "feed_lost"), ("cut", "late_announcements")),
    *(("late_announcements", "cut", "new_epoch"), ("late_announcements", "restart")),
    *(("late_announcements", "reload", "roll_back"), ("restart", "cut"), ("slow", "new_epoch")),
    *(("shuffled_announcements", "cut"), ("shuffled_announcements", "reload")),
    *(("lost_announcements", "cut"), ("lost_announcements", "cut", "cut"), ("deploy", "cut")),
    *(("fail_over", "kill_worker"), ("fail_over", "cut"), ("fail_over", "sleep")),
)
"""Faults that often come together, such as a failover of the log and lost connections to it."""

GROUP_SHARE = 0.4
"""Share of deployments with a group."""

GROUP_MS = 1_500
"""Longest time between two faults of a group."""

ROLL_BACKS = ("roll_back", "fail_over", "lose_zone")
"""Faults in which the log loses its last events."""

INSTANT_FAULTS = frozenset(
    (
        *("cut", "half_open", "feed_lost", "feed_raises", "new_epoch", "roll_back"),
        *("kill_worker", "reload", "revoke"),
    )
)
"""Faults without a duration."""

USUAL_MS = (300, 2_000, 8_000, 20_000)
"""Durations of most faults."""

DURATIONS_MS = {"freeze_worker": (2_000, 8_000, 20_000, 35_000, 45_000)}
"""Durations of other faults: a silent worker loses its keys after 30 s."""

SLOW_SECONDS = 3.6
"""Longest extra delay of a slow log's answers, at strength 1: less than the limit of a call."""

LATE_SECONDS = 2.5
"""Longest extra delay of an announcement, or of a client's messages, at strength 1."""

WAYS = ("up", "down", "both")


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """Fault of one kind at one time.

    Args:
        at: the begin, in milliseconds.
        kind: a name from `FAULT_KINDS`.
        duration: the duration in milliseconds.
        target: the number of the affected client or server.
        strength: a number in [0, 1) that varies the effect, such as the direction of a loss.

    """

    at: int
    kind: str
    duration: int = 0
    target: int = 0
    strength: float = 0.5

    @property
    def end(self) -> int:
        """End of the fault, in milliseconds."""
        return self.at + self.duration

    @property
    def way(self) -> str:
        """Direction that is affected: `up` is from a client to its server."""
        return WAYS[int(self.strength * len(WAYS))]

    def affects(self, client: int) -> bool:
        """Return whether the fault can affect this client."""
        return self.kind not in CLIENT_FAULTS + RARE_FAULTS or self.target == client

    def __str__(self) -> str:
        subject = "client" if self.kind in CLIENT_FAULTS + RARE_FAULTS else "node"
        of = "" if self.kind in SHARED_FAULTS else f" of {subject} {self.target}"
        duration = f" for {self.duration / 1_000:g} s" if self.duration else ""
        return f"{self.at / 1_000:8.3f}  {self.kind}{of}{duration} (strength {self.strength:.2f})"


def draw_faults(
    random: Random, *, clients: int, nodes: int, has_work: bool, span: int
) -> list[Fault]:
    """Draw the faults of the first `span` milliseconds."""
    number = random.choice((0, 1, 1, 2, 2, 3, 4, 6))
    groups = (CLIENT_FAULTS, (*NODE_FAULTS, *FREQUENT), SHARED_FAULTS, RARE_FAULTS)
    kinds = [random.choice(group) for group in random.choices(groups, (50, 34, 14, 2), k=number)]
    faults = [draw_fault(random, kind, clients, nodes, random.randrange(span)) for kind in kinds]
    if random.random() < GROUP_SHARE:
        at = random.randrange(span)
        for kind in random.choice(GROUPS):
            faults.append(draw_fault(random, kind, clients, nodes, at))
            at += random.randint(-GROUP_MS, GROUP_MS)
    if has_work and random.random() < WORKER_SHARE:
        kind = random.choice(WORKER_FAULTS)
        faults.append(draw_fault(random, kind, clients, nodes, random.randrange(span)))
    return sorted(faults)


def draw_secret_faults(random: Random, *, clients: int, nodes: int, span: int) -> list[Fault]:
    """Draw a change of the secret in the first `span` milliseconds; most deployments have none."""
    if random.random() >= SECRET_SHARE:
        return []
    kind = random.choice(SECRET_FAULTS)
    return [draw_fault(random, kind, clients, nodes, random.randrange(span))]


def draw_fault(
    random: Random,
    kind: str,
    clients: int,
    nodes: int,
    at: int,
    *,
    duration: int | None = None,
    strength: float | None = None,
) -> Fault:
    """Draw a fault of a kind that begins at a time, and what is not given of it."""
    targets = clients if kind in CLIENT_FAULTS + RARE_FAULTS else nodes
    usual = 0 if kind in INSTANT_FAULTS else random.choice(DURATIONS_MS.get(kind, USUAL_MS))
    return Fault(
        at=max(0, at),
        kind=kind,
        duration=usual if duration is None else duration,
        target=random.randrange(targets),
        strength=random.random() if strength is None else strength,
    )


def end_of_quiet_period(
    faults: list[Fault], start: int, length: int, concerns: Callable[[Fault], bool]
) -> int:
    """Return the end of the first `length` milliseconds after `start` without a relevant fault.

    Args:
        faults: the faults of the run.
        start: the earliest begin of the quiet period, in milliseconds.
        length: the length of the quiet period, in milliseconds.
        concerns: the predicate for relevant faults.

    """
    end = start + length
    for fault in sorted(faults, key=lambda fault: fault.at):
        if concerns(fault) and fault.end >= start and fault.at <= end:
            end = max(end, fault.end + length)
    return end
