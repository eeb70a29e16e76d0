"""Log that can list its channels."""

from abc import abstractmethod
from collections.abc import Sequence

from realtime_bridge.backend.log import Log


class ListableLog(Log):
    """Log that can list its channels, so that a deployment can move from it to another log."""

    @abstractmethod
    async def channels(self) -> Sequence[str]:
        """Return the names of all channels that have an epoch, each once, in any order.

        Raises:
            PublishError: the log is unavailable.

        """
