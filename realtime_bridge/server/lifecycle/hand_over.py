"""Hand-over of the clients of a server that was cut off from its log."""

import asyncio
import logging

from realtime_bridge.server.lifecycle.status import ServerStatus
from realtime_bridge.server.registry import ConnectionRegistry
from realtime_bridge.server.timing import ServerTiming

_logger = logging.getLogger("realtime_bridge.server")


class HandOver:
    """Asks the clients of this server to connect elsewhere while it brings them nothing.

    Their connections stay open: where no other server accepts them, they poll until the log of
    this one answers again.

    Args:
        registry: the connected clients.
        status: the status of this run.
        timing: the durations of the server.

    """

    def __init__(
        self, registry: ConnectionRegistry, status: ServerStatus, timing: ServerTiming
    ) -> None:
        self._registry = registry
        self._status = status
        self._timing = timing

    async def run(self) -> None:
        """Watch the status until cancelled, and hand over once in each outage."""
        status = self._status
        while True:
            if not status.is_cut_off and status.down_seconds >= self._timing.hand_over:
                # From here on `check_open` rejects new connections, until the log answers.
                status.is_cut_off = True
                if not self._registry.draining:
                    _logger.warning("clients are handed over: clients=%d", len(self._registry))
                    self._registry.hand_over()
            # An outage that begins now is due no earlier.
            remaining = self._timing.hand_over - status.down_seconds
            await asyncio.sleep(max(self._timing.restart, remaining))
