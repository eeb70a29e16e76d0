"""A listener whose connection is made anew whenever it is lost, and that says so."""

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


class ReconnectingListener(Listener):
    """Hears what is announced, for a backend that connects to somewhere.

    It says `FeedInterrupted` when the connection is lost, so that somebody compares positions, and
    again when it hears anew: what was announced between is missing.
    """

    def __init__(self) -> None:
        self._queue = ListenerQueue()
        self._connected = asyncio.Event()
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            PublishError: that is not possible now.

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
        """Connect, call `_on_connected`, and put what comes into `_heard`; return why that ended."""

    def _on_connected(self) -> None:
        """Note that from now on nothing is missed."""
        self._connected.set()
        if self._first.done():
            self._queue.mark_gap()
        else:
            self._first.set_result(None)

    async def _run(self) -> None:
        """Stay connected; if the first time fails, that is the end."""
        attempt = 0
        while True:
            failure = await self._listen_until_lost()
            if not self._first.done():
                self._first.set_exception(failure)
                return
            attempt = 0 if self._connected.is_set() else attempt + 1
            self._connected.clear()
            self._queue.mark_gap()
            _logger.warning("the feed was lost, connecting anew: %s", failure)
            await asyncio.sleep(backoff.delay(attempt, random.random(), base=0.5, cap=5))  # noqa: S311
