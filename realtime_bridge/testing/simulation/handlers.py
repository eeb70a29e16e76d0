"""Application of a simulated client: the replaceable part of a simulation."""

from collections.abc import Mapping
from typing import Any, Protocol

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position


class Handler(Protocol):
    """Application of one client; a simulation creates a handler for each client.

    The events describe jobs: `event.key` is the job's id, `event.data` the number of its step.
    """

    def event(self, event: Event) -> None:
        """Handle an event; each event arrives once and in order."""

    def reset(self, channel: str, position: Position | None) -> None:
        """Handle a reset: events may be missing, and a snapshot follows."""

    def snapshot(self, channel: str, jobs: Mapping[str, Any]) -> None:
        """Handle the state in the application's database: the step of each job.

        Events that arrived during the load may be newer or older than the snapshot.
        """

    def shows(self, event: Event) -> bool:
        """Return whether the visible state is at least as new as this event."""


class JobBoard:
    """Page of jobs that shows the latest step of each, from events and snapshots."""

    def __init__(self) -> None:
        self.jobs: dict[str, int] = {}

    def event(self, event: Event) -> None:
        """Show the event's step."""
        assert event.key
        self._show(event.key, event.data)

    def reset(self, channel: str, position: Position | None) -> None:
        """Keep the visible steps until the snapshot arrives."""

    def snapshot(self, channel: str, jobs: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Show the steps that are newer than the visible steps."""
        for key, step in jobs.items():
            self._show(key, step)

    def shows(self, event: Event) -> bool:
        """Return whether the job has reached the event's step."""
        assert event.key
        return bool(self.jobs.get(event.key, 0) >= event.data)

    def _show(self, key: str, step: int) -> None:
        self.jobs[key] = max(step, self.jobs.get(key, 0))
