"""Jobs of tasks on one page: loaded through the real server, and followed by events."""

from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.testing.simulation.log_store import full_position
from realtime_bridge.testing.simulation.stream_board import StreamBoard
from realtime_bridge.testing.simulation.stream_view import StreamView


class TaskBoard(StreamBoard):
    """Jobs of one page: the events of each, from its group on."""

    keeps_lost: bool = False

    def is_trimmed(self, channel: str, key: str) -> bool:  # noqa: ARG002
        """Return False: a job has no items."""
        return False

    def _begins(self, event: Event) -> bool:  # noqa: ARG002
        # A state keeps the requests to cancel that came before it.
        return False

    def _empty(self) -> Any:
        return ()

    def _fold(self, snapshot: Any, event: Event) -> Any:
        return (*snapshot, event)

    def _fold_group(self, page: Page) -> Any:
        return tuple(page.events)


class TaskView(StreamView):
    """Board of tasks of one process, and the requests that fill it."""

    board_class: type[StreamBoard] = TaskBoard

    def _keys(self, channel: str) -> list[str]:
        return [task.key for task in self._simulation.tasks_of(channel)]

    def _check(self, key: str, snapshot: Any, as_of: Position) -> None:
        checker = self._simulation.checker.tasks
        checker.check_shown(self._page.name, key, snapshot, full_position(as_of))
