"""Schedule by which a draining server moves its clients, spread over a window."""

from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_SECONDS, SHORTEST_SECONDS = 30.0, 2.0
CLIENTS_A_SECOND = 500.0
RESERVE_SECONDS = 5.0
"""Part of the grace period kept for the last client's move and for pending requests."""

BLUR_SECONDS = 0.5
"""A client moves at a random moment within this time after its slot begins."""

LINGER_SECONDS = 1.0
"""Time after that until the client's old connection is closed."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Moments of one client, in seconds from the beginning: it moves, and it is closed."""

    after: float
    closes: float


def spread(clients: int) -> float:
    """Return the seconds over which other processes can take so many clients."""
    return min(LONGEST_SECONDS, max(SHORTEST_SECONDS, clients / CLIENTS_A_SECOND))


def window(clients: int, *, grace: float) -> float:
    """Return the seconds over which to spread the clients of a process that has `grace` seconds."""
    return max(0.0, min(grace - RESERVE_SECONDS, spread(clients)))


def slots(clients: int, *, grace: float) -> Iterator[Slot]:
    """Yield a slot for each client, evenly over the window."""
    seconds = window(clients, grace=grace)
    for number in range(clients):
        after = seconds * number / clients
        yield Slot(after, after + BLUR_SECONDS + LINGER_SECONDS)
