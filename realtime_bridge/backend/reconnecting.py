"""Listener that reconnects, and reports a gap for the time without a connection."""

import asyncio
import logging
import random
from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self

from realtime_bridge.backend.feed import FeedInterrupted, Listener
from realtime_bridge.backend.listener_queue import ListenerQueue
from realtime_bridge.errors import PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.protocol import backoff

_logger = logging.getLogger("realtime_bridge.feed")


def reconnect_delay(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    return backoff.delay(failures, random.random(), base=0.5, cap=5)  # noqa: S311 -- jitter


class ReconnectingListener(Listener):
    """Base of listeners that hold a connection.

    It reports a gap when the connection is lost, so that positions are compared at once, and
    another one when it is connected again: announcements in between are missing.
    """

    def __init__(self) -> None:
        self._queue = ListenerQueue()
        self._connected = asyncio.Event()
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            PublishError: the first attempt failed.

        """
        self._running = asyncio.create_task(self._run())
        try:
            await self._first
        except BaseException:
            self._running.cancel()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._running
        self._running.cancel()
        await asyncio.wait([self._running])
        self._queue.close()

    def __aiter__(self) -> AsyncIterator[Sequence[Event] | FeedInterrupted]:
        return aiter(self._queue)

    @abstractmethod
    async def _listen_until_lost(self) -> PublishError:
        """Connect, call `_on_connected`, and put events into `_queue`; return the failure."""

    def _on_connected(self) -> None:
        """Mark the listener as connected: from now on no announcement is missed."""
        self._connected.set()
        if self._first.done():
            self._queue.mark_gap()
        else:
            self._first.set_result(None)

    async def _run(self) -> None:
        """Stay connected; a failure of the first attempt is the caller's error."""
        failures = 0
        while True:
            failure = await self._listen_until_lost()
            if not self._first.done():
                self._first.set_exception(failure)
                return
            failures = 0 if self._connected.is_set() else failures + 1
            self._connected.clear()
            # At once: the hub compares positions with the log while there is no feed.
            self._queue.mark_gap()
            _logger.warning("feed lost error=%r", str(failure))
            await asyncio.sleep(reconnect_delay(failures))
