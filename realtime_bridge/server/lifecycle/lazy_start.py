"""Preparation for single requests where the bridge is never started, as on serverless hosts."""

import asyncio
import logging
import time

from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.errors import RealtimeError
from realtime_bridge.server.auth.revocations import Revocations
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline
from realtime_bridge.server.lifecycle.status import ServerStatus

_logger = logging.getLogger("realtime_bridge.server")


class LazyStart:
    """Connects log and broadcaster in the event loop of a request, and reads announcements.

    Args:
        pipeline: the log, outside this process, and the broadcaster.
        revocations: the revocations to update.
        status: the status, whose generation is updated.
        refresh: the seconds until announcements are read again.

    """

    def __init__(
        self,
        pipeline: ServerPipeline,
        revocations: Revocations,
        status: ServerStatus,
        *,
        refresh: float,
    ) -> None:
        self._pipeline = pipeline
        self._revocations = revocations
        self._status = status
        self._refresh_seconds = refresh
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()
        self._refreshed = float("-inf")
        self._outage = OutageLog(
            _logger,
            "announcements of other servers cannot be read",
            "announcements of other servers are read again",
        )

    async def prepare(self) -> None:
        """Prepare for a request."""
        if self._loop is not asyncio.get_running_loop():
            self._change_loop()
        async with self._lock:
            if time.monotonic() - self._refreshed >= self._refresh_seconds:
                await self._refresh()

    def _change_loop(self) -> None:
        # A serverless host may run each request in an event loop of its own: connections made in
        # the loop before cannot be used, nor closed.
        if self._loop is not None:
            self._pipeline.rebuild()
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()

    async def _refresh(self) -> None:
        """Read announcements from the log; while it is down, the state from before serves."""
        try:
            if self._pipeline.failover:
                await self._pipeline.failover.sync_active()
            await self._revocations.read(self._pipeline.log)
            await self._status.read_generation()
        except RealtimeError as error:
            self._outage.failed(error)
        else:
            self._outage.works()
        self._refreshed = time.monotonic()
