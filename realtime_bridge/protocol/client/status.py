"""Connection status for users: never better than the connection."""

from dataclasses import dataclass
from typing import Literal

from realtime_bridge.protocol.client.machine import Machine

MISSED_POLLS = 3
"""Number of intervals without a successful poll after which the status is not `polling`."""

DEGRADED = "the server reports that its log or backend is down"

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
    """Connection status of a client, and its reason."""

    kind: Kind
    reason: str | None = None

    @property
    def label(self) -> str:
        """Text for users; where it is empty, a page keeps the text before."""
        return LABELS[self.kind]


def status(machine: Machine, now: int) -> Status:
    """Return the status of a machine at `now`."""
    if machine.pushed and machine.behind is None:
        return Status("realtime")
    if machine.mode == "DENIED":
        return Status("error", machine.reason)
    if machine.mode in ("STOPPED", "IDLE", "PAUSED"):
        return Status("paused", machine.reason)
    reason = DEGRADED if machine.degraded else machine.reason
    return Status(_active_kind(machine, now), reason)


def _active_kind(machine: Machine, now: int) -> Kind:
    """Return the kind for a client that is neither at rest nor fully synchronized by push."""
    if machine.pushed and machine.behind is not None:
        return _patient_kind(machine, now - machine.behind)
    last_ok = machine.last_ok
    limit = MISSED_POLLS * machine.poll_schedule.usual
    if machine.polling and last_ok is not None and now - last_ok < limit:
        return "polling"
    quiet = now - max(machine.started, last_ok or 0)
    return "offline" if quiet >= machine.timing.offline_after else _patient_kind(machine, quiet)


def _patient_kind(machine: Machine, elapsed: int) -> Kind:
    """Return `starting` for a short while: most connections are ready before a text is read."""
    return "starting" if elapsed < machine.timing.starting_period else "connecting"
