"""Listener that reconnects, and reports a gap for the time without a connection."""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

from realtime_bridge.backend.feed import FeedInterrupted, Listener
from realtime_bridge.backend.listener_queue import ListenerQueue
from realtime_bridge.backend.supervisor import Supervisor, SupervisorTiming
from realtime_bridge.errors import BackendUnavailableError, PublishError
from realtime_bridge.model.event import Event

_TIMING = SupervisorTiming()
_WORK = "feed"


class ReconnectingListener(Listener):
    """Base of listeners that hold a connection.

    It reports a gap when the connection is lost, so that positions are compared at once, and
    another one when it is connected again: announcements in between are missing. Whatever ends
    `_listen_until_lost` is a lost connection.

    Args:
        timing: durations between reconnections.

    """

    def __init__(self, timing: SupervisorTiming = _TIMING) -> None:
        self._queue = ListenerQueue()
        self._connected = asyncio.Event()
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._supervisor = Supervisor(timing=timing)

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            PublishError: the first attempt failed.

        """
        self._supervisor.run(_WORK, self._connect, confirms=True)
        try:
            await self._first
        except BaseException:
            await self._supervisor.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._supervisor.close()
        self._queue.close()

    def __aiter__(self) -> AsyncIterator[Sequence[Event] | FeedInterrupted]:
        return aiter(self._queue)

    async def follow(
        self,
        receive: Callable[[Sequence[Event]], None],
        recover: Callable[[FeedInterrupted], Awaitable[None]],
    ) -> None:
        """Pass on what the stream yields."""
        await self._queue.follow(receive, recover)

    @abstractmethod
    async def _listen_until_lost(self) -> None:
        """Connect, call `_on_connected`, and put events into `_queue` until the connection ends.

        Raises:
            Exception: the reason of the end, of any class.

        """

    @abstractmethod
    def _to_publish_error(self, error: Exception) -> PublishError:
        """Return our error for an error of `_listen_until_lost`: what failed, and what to do."""

    def _on_connected(self) -> None:
        """Mark the listener as connected: from now on no announcement is missed."""
        self._connected.set()
        self._supervisor.confirm(_WORK)
        if self._first.done():
            self._queue.mark_gap()
        else:
            self._first.set_result(None)

    async def _connect(self) -> None:
        """Listen until the connection is lost; a failure of the first attempt is the caller's."""
        try:
            await self._listen_until_lost()
        except Exception as error:
            failure = self._to_publish_error(error)
            if self._first.done():
                raise failure from error
            self._first.set_exception(failure)
            # The caller reports the failure, and closes this listener.
            await asyncio.Event().wait()
        finally:
            if not self._first.done():
                self._first.set_exception(BackendUnavailableError("Connecting was cancelled"))
            self._connected.clear()
            # At once: the hub compares positions with the log while there is no feed.
            self._queue.mark_gap(connected=False)
