"""Connection status for users."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "starting",
    "connecting",
    "realtime",
    "polling",
    "delayed",
    "offline",
    "error",
    "paused",
]
LABELS: dict[Kind, str] = {
    "starting": "",
    "connecting": "Connecting",
    "realtime": "Real-time",
    "polling": "Polling",
    "delayed": "Delayed",
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
