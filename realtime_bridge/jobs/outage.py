"""Outage of the log, as the background work of one broadcaster sees it."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import TypeVar

from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.errors import BackendAuthError, PublishError, RealtimeError
from realtime_bridge.protocol import backoff

T = TypeVar("T")

_logger = logging.getLogger("realtime_bridge.jobs")


class Outage:
    """State of an outage, in which there is one attempt at a time.

    Without that bound, every job would call a log that does not answer, again and again, and all
    of them would call at the moment of its return.
    """

    def __init__(self) -> None:
        self.is_on: bool = False
        """True from the first failure, or from a wait in vain, until the next success; any thread
        may read and set it."""
        self._log = OutageLog(_logger, "job updates delayed", "job updates published again")
        self._turn = asyncio.Lock()

    async def attempt(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """Return the result of one call of the log; after a failure that may pass, wait: None.

        Raises:
            Exception: a failure that another attempt would repeat.

        """
        async with self._turn if self.is_on else nullcontext():
            try:
                result = await call()
            except Exception as error:
                # Credentials that are refused may be in the middle of their rotation.
                if not is_retryable(error) and not isinstance(error, BackendAuthError):
                    raise
                self.is_on = True
                self._log.failed(error)
                await asyncio.sleep(retry_delay(self._log.failures))
                return None
        self.is_on = False
        self._log.works()
        return result


def is_retryable(error: Exception) -> bool:
    """Return whether the same publish may succeed later."""
    # An error of another library has no such mark: uvloop's RuntimeError is a lost connection.
    if not isinstance(error, RealtimeError):
        return True
    return isinstance(error, PublishError) and error.retryable


def retry_delay(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row, at most 5."""
    return backoff.delay(failures - 1, random.random(), base=0.2, cap=5.0)  # noqa: S311 -- jitter
