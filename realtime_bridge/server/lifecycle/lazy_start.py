"""Serving where nothing ever starts the bridge, as serverless hosts do: nothing runs in between."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from realtime_bridge.errors import RealtimeError
from realtime_bridge.publishing import pipeline
from realtime_bridge.publishing.broadcaster import Broadcaster
from realtime_bridge.server.lifecycle.null_log import NullLog

if TYPE_CHECKING:
    from realtime_bridge.server.context import ServerContext

_logger = logging.getLogger("realtime_bridge.server")

LOOK_SECONDS = 5.0
"""How long what was asked is believed, where a started server would be told."""


class LazyStart:
    """Gets an engine ready for single requests: in this event loop, and in step with the others.

    Args:
        engine: whose provider carries the events, beside a log that is not of this process.

    """

    def __init__(self, engine: "ServerContext") -> None:
        self._engine = engine
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()
        self._looked = float("-inf")

    async def wake(self) -> None:
        """Be ready for what is asked now."""
        if self._loop is not asyncio.get_running_loop():
            self._move()
        async with self._lock:
            if time.monotonic() - self._looked >= LOOK_SECONDS:
                await self._look()

    def _move(self) -> None:
        """Leave what is connected in an event loop that is gone."""
        if self._loop is not None:
            settings = self._engine.settings
            parts = pipeline.server_pipeline(settings)
            limit = settings.limit_event_bytes
            self._engine.log = parts.log or NullLog()
            self._engine.broadcaster = Broadcaster(
                log=parts.log, backend=parts.backend, limit_event_bytes=limit
            )
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()

    async def _look(self) -> None:
        """Ask the log what servers tell each other; while it is down, what was known serves."""
        engine = self._engine
        try:
            if engine.carriers.failover:
                await engine.carriers.failover.sync_active()
            await engine.revocations.learn()
            engine.generation = await engine.log.generation(engine.delivery)
        except RealtimeError as error:
            _logger.warning("what the other servers say is not known: %s", error)
        self._looked = time.monotonic()
