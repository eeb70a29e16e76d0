"""Status of the server: whether it started, whether its log answers, which generation it is."""

import asyncio
import logging
import time

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.errors import RealtimeError
from realtime_bridge.protocol.wire import messages
from realtime_bridge.server.http.request import HTTPError
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline

_logger = logging.getLogger("realtime_bridge.server")


class ServerStatus:
    """Status of one run of the server.

    Args:
        pipeline: the log, which counts the generations of the configuration.
        outage: reporter of requests and subscriptions that fail because of the log.
        is_serverless: whether requests are answered without a start; the log counts as available.

    """

    def __init__(
        self, pipeline: ServerPipeline, outage: OutageLog, *, is_serverless: bool = False
    ) -> None:
        self._pipeline = pipeline
        self.is_serverless = is_serverless
        self._generation_outage = OutageLog(
            _logger, "the generation cannot be read", "the generation was read"
        )
        self.is_started = False
        self.obstacle: str | None = None
        """Reason why the bridge cannot start, where it is known."""
        self.outage: OutageLog = outage
        self.generation: int = 0
        """Generation of the delivery configuration; 0 until the log returns it."""
        self.fields: dict[str, str] = {}
        """Fields of a status message."""
        self.is_cut_off: bool = False
        """True once feed or log have not answered for so long that clients go elsewhere."""
        self._down_since: float | None = None
        self.set_log_available(available=is_serverless)

    def set_log_available(self, *, available: bool) -> None:
        """Store whether feed and log answer."""
        if available:
            self._down_since, self.is_cut_off = None, False
        elif self._down_since is None:
            self._down_since = time.monotonic()
        self.fields = {"log": "ok" if available else "down", "backend": "ok"}

    @property
    def down_seconds(self) -> float:
        """The time for which feed or log have not answered; 0 while they do."""
        return 0.0 if self._down_since is None else time.monotonic() - self._down_since

    def message(self) -> bytes:
        """Return the status message for clients; they poll while the log is down."""
        return messages.encode("status", **self.fields)

    def check_started(self) -> None:
        """Check that the bridge was started.

        Raises:
            HTTPError: 503.

        """
        if self.obstacle and not self.is_started:
            raise HTTPError(503, "not_started", f"The bridge cannot start. {self.obstacle}")
        if not self.is_started:
            raise HTTPError(
                503,
                "not_started",
                "The bridge was not started, and a mounted application is not by itself: give the "
                "outer one lifespan=bridge.lifespan, or run `async with bridge` in its own",
            )

    async def read_generation(self) -> None:
        """Read the generation of the configuration from the log.

        Raises:
            RealtimeError: the log does not answer.

        """
        log = self._pipeline.log
        self.generation = await backend_call(log, log.generation, self._pipeline.delivery)

    async def wait_for_generation(self, retry: float) -> None:
        """Read the generation from the log; retry every `retry` seconds until the log answers."""
        while True:
            try:
                await self.read_generation()
            except RealtimeError as error:
                self._generation_outage.failed(error)
                await asyncio.sleep(retry)
            else:
                self._generation_outage.works()
                return

    async def keep_generation(self, retry: float) -> None:
        """Read the generation once the log answers; never end, as all background work."""
        await self.wait_for_generation(retry)
        await asyncio.Event().wait()
