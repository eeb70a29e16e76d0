"""Start of the bridge at its first request, for ASGI servers without the lifespan protocol."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.server.http.request import Scope

_logger = logging.getLogger("realtime_bridge.server")


class StartOnDemand:
    """Starts the bridge once, for all requests that arrive meanwhile.

    A configuration that cannot work is tried once. After another failure, a request tries again
    when `retry` seconds have passed.

    Args:
        start: starts the bridge.
        retry: the seconds between two attempts.

    """

    def __init__(self, start: Callable[[], Awaitable[object]], *, retry: float) -> None:
        self._start = start
        self._retry = retry
        self._tasks = Supervisor()
        self._attempt: asyncio.Task[None] | None = None
        self._next_attempt = float("-inf")
        self._outage = OutageLog(_logger, "the bridge cannot start", "the bridge started")
        self._obstacle: str | None = None

    async def run(self) -> str | None:
        """Start the bridge, or wait for the start in progress; a failure is logged.

        Returns:
            What is wrong with the configuration, if the bridge cannot start at all.

        """
        if self._attempt is None and time.monotonic() >= self._next_attempt:
            self._attempt = self._tasks.spawn("start on demand", self._try())
        if self._attempt:
            # The client that came first may leave; the others wait for the same start.
            await asyncio.shield(self._attempt)
        return self._obstacle

    async def _try(self) -> None:
        try:
            await self._start()
        except ConfigurationError as error:
            self._outage.failed(str(error))
            self._obstacle, self._next_attempt = str(error), float("inf")
        except Exception as error:
            self._outage.failed(error)
            self._next_attempt = time.monotonic() + self._retry
        else:
            self._outage.works()
        finally:
            self._attempt = None


def has_lifespan(scope: Scope) -> bool:
    """Return whether the ASGI server of a request runs the lifespan protocol."""
    # The specification adds `state` to the scopes of servers with a lifespan. daphne has none,
    # and neither has the adapter to WSGI.
    return "state" in scope
