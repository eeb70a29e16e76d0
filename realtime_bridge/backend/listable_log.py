"""Log that can list its channels."""

from abc import abstractmethod
from collections.abc import Sequence

from realtime_bridge.backend.log import Log
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.reset import Reset


class ListableLog(Log):
    """Log whose channels can all be read: to move it to another log, or to deliver its events."""

    @abstractmethod
    async def channels(self, *, stored: bool = False) -> Sequence[str]:
        """Return the names of all channels that have an epoch, each once, in any order.

        Args:
            stored: only channels of which the log has events; some others may be among them.

        Raises:
            PublishError: the log is unavailable.

        """

    @abstractmethod
    async def oldest(self, channel: str, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return the oldest events that the log has, whatever it has removed before them.

        Raises:
            PublishError: the log is unavailable.

        """
