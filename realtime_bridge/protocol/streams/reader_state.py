"""State of a stream on its reader's side: which items come next."""

from collections.abc import Iterable, Sequence
from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.protocol.streams.snapshot import (
    FINAL,
    UNKNOWN_STREAM,
    StreamSnapshot,
    fold_group,
    fold_stream,
    writer_number,
)


class ReaderState:
    """Decisions of one reader: each item comes once, whatever is loaded again."""

    def __init__(self) -> None:
        self.snapshot: StreamSnapshot = UNKNOWN_STREAM
        """State after the last event."""
        self._taken = 0
        """Number of the first items that were taken."""
        self._run: tuple[str | None, str | None] | None = None
        self._is_restarted = False

    @property
    def is_over(self) -> bool:
        """True if the stream has ended; a silent writer may go on."""
        return self.snapshot.state in FINAL

    def load(self, group: Sequence[Event]) -> None:
        """Handle the group of the stream's key; an empty one changes nothing."""
        snapshot = fold_group(group, self.snapshot)
        self._begin(group)
        if snapshot.trimmed:
            self._taken = min(self._taken, len(snapshot.items))
        self.snapshot = snapshot

    def handle(self, event: Event) -> None:
        """Handle an event of the stream's key."""
        before = self.snapshot
        self.snapshot = fold_stream(before, event)
        self._begin([event])
        if self.snapshot.trimmed and not before.trimmed:
            # Items before this event are missing: those that follow have other numbers.
            self._taken = min(self._taken, len(before.items))

    def take(self) -> Sequence[Any]:
        """Return the items that were not taken yet."""
        items = self.snapshot.items[self._taken :]
        self._taken += len(items)
        return items

    def take_restart(self) -> bool:
        """Return whether another run began since the last call; its items come from the first."""
        is_restarted, self._is_restarted = self._is_restarted, False
        return is_restarted

    def _begin(self, events: Iterable[Event]) -> None:
        """Note the run that writes the stream: a task that runs again may keep its attempt."""
        for event in events:
            if event.fold is not None:
                continue
            # A writer whose log was lost goes on with its numbers, and repeats its items.
            run = event.attempt, writer_number(event.id)[0]
            if self._run is not None and run != self._run:
                self._taken, self._is_restarted = 0, True
            self._run = run
