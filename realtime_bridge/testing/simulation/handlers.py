"""What an application does with its events: the part of a simulation that users replace."""

from collections.abc import Mapping
from typing import Any, Protocol

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position


class Handler(Protocol):
    """One client's application; a simulation makes one for each client.

    Jobs are what is simulated: `event.key` names one, and `event.data` counts its steps.
    """

    def event(self, event: Event) -> None:
        """Take an event: each once, and in order."""

    def reset(self, channel: str, position: Position | None) -> None:
        """Take the word that there is a hole; a snapshot follows."""

    def snapshot(self, channel: str, jobs: Mapping[str, Any]) -> None:
        """Take what the application's database knows of the channel: the step of each job.

        Events that came while it was loaded may be newer, or older.
        """

    def shows(self, event: Event) -> bool:
        """Tell whether what people see is at least as new as this event."""


class JobBoard:
    """A page of jobs: the latest step of each, by events and by snapshots."""

    def __init__(self) -> None:
        self.jobs: dict[str, int] = {}

    def event(self, event: Event) -> None:
        """Show it."""
        assert event.key
        self._show(event.key, event.data)

    def reset(self, channel: str, position: Position | None) -> None:
        """Go on showing what was shown, until the snapshot comes."""

    def snapshot(self, channel: str, jobs: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Show what is newer than what is shown."""
        for key, step in jobs.items():
            self._show(key, step)

    def shows(self, event: Event) -> bool:
        """Tell whether the job has come so far."""
        assert event.key
        return bool(self.jobs.get(event.key, 0) >= event.data)

    def _show(self, key: str, step: int) -> None:
        self.jobs[key] = max(step, self.jobs.get(key, 0))
