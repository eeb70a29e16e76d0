"""Faults of a simulated deployment: given by a test, or drawn from a seed."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

CLIENT_FAULTS = (
    *("cut", "half_open", "offline", "swallow", "refuse", "kill", "slow", "demote", "mangle"),
    *("http_500", "http_503", "http_html", "http_hang", "sleep", "hide", "expire", "log_out"),
)
"""Faults of one client, or of its way to the server."""

SERVER_FAULTS = (
    *("restart", "crash", "new_epoch", "regress", "generation", "drain", "trouble", "reject"),
    "lose_receipts",
)
"""Faults that affect every client."""

RARE_FAULTS = ("revoke",)
"""Faults that end a client's part in the simulation, and are drawn seldom for that reason."""

INSTANT_FAULTS = frozenset(
    ("cut", "half_open", "demote", "expire", "log_out", "new_epoch", "regress", "generation")
)
"""Faults without a duration."""

HTTP_FAULTS = frozenset(
    ("http_500", "http_503", "http_html", "http_hang", "offline", "sleep", "slow")
)
"""Faults during which a client's HTTP requests fail or are slow."""

PAUSE_MS = 320_000
"""Duration after which a hidden page has paused: over the machine's 5 minutes."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """Fault of one kind at one time.

    Args:
        at: the begin, in milliseconds.
        kind: a name from `FAULT_KINDS`.
        duration: the duration in milliseconds.
        client: the number of the affected client; None is every client.
        strength: a number in [0, 1) that varies the effect. At "offline" it determines whether
            the browser notices the fault, at "regress" the number of lost events.

    """

    at: int
    kind: str
    duration: int = 0
    client: int | None = None
    strength: float = 0.5

    @property
    def end(self) -> int:
        """End of the fault, in milliseconds."""
        return self.at + self.duration

    def affects(self, client: int) -> bool:
        """Return whether the fault affects this client."""
        return self.client is None or self.client == client

    def __str__(self) -> str:
        clients = "every client" if self.client is None else f"client {self.client}"
        duration = f" for {self.duration / 1_000:g} s" if self.duration else ""
        return f"{self.at / 1_000:8.3f}  {self.kind}{duration}, {clients} ({self.strength:.2f})"


def draw_faults(random: Random, *, clients: int, span: int) -> list[Fault]:
    """Draw the faults of the first `span` milliseconds."""
    number = random.choice((0, 1, 1, 2, 3, 4, 6, 8))
    return sorted(_draw_fault(random, clients, span) for _ in range(number))


def _draw_fault(random: Random, clients: int, span: int) -> Fault:
    groups = (CLIENT_FAULTS, SERVER_FAULTS, RARE_FAULTS)
    kind = random.choice(random.choices(groups, weights=(70, 28, 2))[0])
    one_client = kind in CLIENT_FAULTS or kind in RARE_FAULTS
    return Fault(
        at=random.randrange(span),
        kind=kind,
        duration=0 if kind in INSTANT_FAULTS else _draw_duration(random, kind),
        client=random.randrange(clients) if one_client else None,
        strength=random.random(),
    )


def _draw_duration(random: Random, kind: str) -> int:
    durations = (300, 2_000, 8_000, 20_000)
    return random.choice((*durations, *durations, PAUSE_MS) if kind == "hide" else durations)


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
