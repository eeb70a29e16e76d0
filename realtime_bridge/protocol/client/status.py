"""What people are shown of a connection: never greener than it is."""

from dataclasses import dataclass
from typing import Literal

from realtime_bridge.protocol.client.machine import Machine

PATIENCE_MS = 1_500
"""How long nothing is said while a first connection is made, or a channel is behind."""

OFFLINE_MS = 30_000
"""Without any sign of the server for so long, it is red."""

POLLS = 3
"""So many intervals may pass without a good poll while it is still called polling."""

TROUBLE = "the server says that its log or its backend is down"

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
        """The word; where it is empty, a page goes on showing what it showed."""
        return LABELS[self.kind]


def status(machine: Machine, now: int) -> Status:
    """Return what to show at `now`."""
    if machine.pushed and machine.behind is None:
        return Status("realtime")
    if machine.mode == "DENIED":
        return Status("error", machine.reason)
    if machine.mode in ("STOPPED", "IDLE", "PAUSED"):
        return Status("paused", machine.reason)
    reason = TROUBLE if machine.degraded else machine.reason
    return Status(_trying(machine, now), reason)


def _trying(machine: Machine, now: int) -> Kind:
    """Choose the word for a client that is neither all right nor at rest."""
    if machine.pushed and machine.behind is not None:
        return _patiently(now - machine.behind)
    last_ok = machine.last_ok
    if (
        machine.polling
        and last_ok is not None
        and now - last_ok < POLLS * machine.poll_schedule.usual
    ):
        return "polling"
    quiet = now - max(machine.started, last_ok or 0)
    return "offline" if quiet >= OFFLINE_MS else _patiently(quiet)


def _patiently(milliseconds: int) -> Kind:
    return "starting" if milliseconds < PATIENCE_MS else "connecting"
