"""What can go wrong, when, for how long and for whom: written down, or drawn by chance."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

CLIENT = (
    *("cut", "half_open", "offline", "swallow", "refuse", "kill", "slow", "demote", "mangle"),
    *("http_500", "http_503", "http_html", "http_hang", "sleep", "hide", "expire", "log_out"),
)
"""Faults of one client, or of its way to the server."""

SERVER = (
    *("restart", "crash", "new_epoch", "regress", "generation", "drain", "trouble", "reject"),
    "lose_receipts",
)
"""Faults that everybody feels."""

INSTANT = frozenset(
    ("cut", "half_open", "demote", "expire", "log_out", "new_epoch", "regress", "generation")
)
"""Faults that happen at a moment, and do not last."""

RARE = ("revoke",)
PAUSE_MS = 320_000
"""A page hidden for so long pauses."""

HTTP = frozenset(("http_500", "http_503", "http_html", "http_hang", "offline", "sleep", "slow"))
"""Faults during which a client's HTTP does not work, or not in time."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that goes wrong, from `at` for `lasts` milliseconds.

    `client` is the number of the client that it hits, None for all; `strength` in [0, 1) is what
    a fault has of more or less: of `lasts` for "offline" whether the browser notices, and so on.
    """

    at: int
    kind: str
    lasts: int = 0
    client: int | None = None
    strength: float = 0.5

    @property
    def end(self) -> int:
        """When it is over."""
        return self.at + self.lasts

    def hits(self, client: int) -> bool:
        """Tell whether this client feels it."""
        return self.client is None or self.client == client

    def __str__(self) -> str:
        whom = "everybody" if self.client is None else f"client {self.client}"
        lasts = f" for {self.lasts / 1_000:g} s" if self.lasts else ""
        return f"{self.at / 1_000:8.3f}  {self.kind}{lasts}, {whom} ({self.strength:.2f})"


def draw_faults(random: Random, *, clients: int, span: int) -> list[Fault]:
    """Draw what goes wrong within the first `span` milliseconds."""
    number = random.choice((0, 1, 1, 2, 3, 4, 6, 8))
    return sorted(_draw_fault(random, clients, span) for _ in range(number))


def _draw_fault(random: Random, clients: int, span: int) -> Fault:
    kind = random.choice(random.choices((CLIENT, SERVER, RARE), weights=(70, 28, 2))[0])
    return Fault(
        at=random.randrange(span),
        kind=kind,
        lasts=0 if kind in INSTANT else _draw_duration(random, kind),
        client=random.randrange(clients) if kind in CLIENT or kind in RARE else None,
        strength=random.random(),
    )


def _draw_duration(random: Random, kind: str) -> int:
    durations = (300, 2_000, 8_000, 20_000)
    return random.choice((*durations, *durations, PAUSE_MS) if kind == "hide" else durations)


def over(faults: list[Fault], at: int, within: int, concerns: Callable[[Fault], bool]) -> int:
    """Return when `within` milliseconds without any of the faults have passed after `at`."""
    due = at + within
    for fault in sorted(faults, key=lambda fault: fault.at):
        if concerns(fault) and fault.end >= at and fault.at <= due:
            due = max(due, fault.end + within)
    return due
