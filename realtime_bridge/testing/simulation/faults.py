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
    "late_announcements",
)
"""Faults of one server, or of its way to the log."""

SHARED_FAULTS = ("new_epoch", "roll_back", "log_full", "kill_worker", "worker_log_refused")
"""Faults that affect all servers, or the workers."""

RARE_FAULTS = ("revoke",)
"""Faults that end a client's part in the simulation, and are drawn seldom for that reason."""

INSTANT_FAULTS = frozenset(
    (
        *("cut", "half_open", "feed_lost", "feed_raises", "new_epoch", "roll_back"),
        *("kill_worker", "reload", "revoke"),
    )
)
"""Faults without a duration."""

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


def draw_faults(random: Random, *, clients: int, nodes: int, span: int) -> list[Fault]:
    """Draw the faults of the first `span` milliseconds."""
    number = random.choice((0, 1, 1, 2, 2, 3, 4, 6))
    return sorted(_draw_fault(random, clients, nodes, span) for _ in range(number))


def _draw_fault(random: Random, clients: int, nodes: int, span: int) -> Fault:
    groups = (CLIENT_FAULTS, NODE_FAULTS, SHARED_FAULTS, RARE_FAULTS)
    kind = random.choice(random.choices(groups, weights=(50, 34, 14, 2))[0])
    targets = clients if kind in CLIENT_FAULTS + RARE_FAULTS else nodes
    return Fault(
        at=random.randrange(span),
        kind=kind,
        duration=0 if kind in INSTANT_FAULTS else random.choice((300, 2_000, 8_000, 20_000)),
        target=random.randrange(targets),
        strength=random.random(),
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
