"""How a server that stops sends its clients away: one by one, over a window, so that none storm."""

from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_SECONDS, SHORTEST_SECONDS = 30.0, 2.0
CLIENTS_A_SECOND = 500.0
RESERVE_SECONDS = 5.0
"""What is left of the grace for the last client's move, and for requests under way."""

BLUR_SECONDS = 0.5
"""A client moves over at random within so long after its moment."""

LINGER_SECONDS = 1.0
"""And has so long to do it before its old connection is closed."""


@dataclass(frozen=True, slots=True)
class Slot:
    """When one client is to move over, and when it is closed, in seconds from the beginning."""

    after: float
    closes: float


def window(clients: int, *, grace: float) -> float:
    """Return over how many seconds to spread the clients, given what the process has to stop."""
    wanted = max(SHORTEST_SECONDS, clients / CLIENTS_A_SECOND)
    return max(0.0, min(LONGEST_SECONDS, grace - RESERVE_SECONDS, wanted))


def slots(clients: int, *, grace: float) -> Iterator[Slot]:
    """Yield a slot for each client, evenly over the window."""
    seconds = window(clients, grace=grace)
    for number in range(clients):
        after = seconds * number / clients
        yield Slot(after, after + BLUR_SECONDS + LINGER_SECONDS)
