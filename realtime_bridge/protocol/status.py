"""What people are shown of a connection: never greener than it is."""

from dataclasses import dataclass
from typing import Literal

from realtime_bridge.protocol.machine import Machine

PATIENCE_MS = 1_500
"""How long nothing is said while a first connection is made."""

OFFLINE_MS = 30_000
"""Without any sign of the server for so long, it is red."""

POLLS = 3
"""So many intervals may pass without a good poll while it is still called polling."""

Kind = Literal["starting", "connecting", "realtime", "polling", "offline", "error", "paused"]
LABELS: dict[Kind, str] = {
    "starting": "",
    "connecting": "Connecting",
    "realtime": "Real-time",
    "polling": "Polling",
    "offline": "Offline",
    "error": "Error",
    "paused": "Paused",
}


@dataclass(frozen=True, slots=True)
class Status:
    """A word for people, and why."""

    kind: Kind
    reason: str | None = None

    @property
    def label(self) -> str:
        """The word."""
        return LABELS[self.kind]


def status(machine: Machine, now: int, *, current: bool) -> Status:
    """Return what to show at `now`; `current` says whether every channel has all its events."""
    if machine.mode == "LIVE" and current:
        return Status("realtime")
    if machine.mode == "DENIED":
        return Status("error", machine.reason)
    if machine.mode in ("STOPPED", "IDLE", "PAUSED"):
        return Status("paused", machine.reason)
    if machine.polling and machine.last_ok is not None:
        patience = POLLS * machine.cadence.interval(now)
        if now - machine.last_ok < patience:
            return Status("polling", machine.reason)
    quiet = now - (machine.started if machine.last_ok is None else machine.last_ok)
    if quiet >= OFFLINE_MS:
        return Status("offline", machine.reason)
    return Status("starting" if quiet < PATIENCE_MS else "connecting", machine.reason)
