"""Opening of channels: each once for all requests, and many in one call of the log."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.model.event import Event

MAX_CHANNELS = 1_000
"""The most channels in one call of the log."""

_logger = logging.getLogger("realtime_bridge.server")


class _Opening:
    """Channel that is being opened, and the events announced meanwhile."""

    __slots__ = ("early_events", "opened")

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.early_events: list[Event] = []

    def fail(self, problem: object) -> None:
        if not self.opened.done():
            message = f"The channel cannot be opened now: {problem}"
            self.opened.set_exception(BackendUnavailableError(message))
            # All waiters may be cancelled; asyncio would log an exception that is never read.
            self.opened.exception()


class ChannelOpener:
    """Opens the requested channels while it runs.

    Args:
        open_all: opens some channels, and calls `finish` for each; its exception fails them all.
        at_once: whether a request opens its channel itself, because the log is in this process;
            otherwise all requests of a turn share a call of the log.

    """

    def __init__(
        self, open_all: Callable[[list[str]], Awaitable[None]], *, at_once: bool = False
    ) -> None:
        self._open_all = open_all
        self._at_once = at_once
        self._openings: dict[str, _Opening] = {}
        self._requested: list[str] = []
        self._wake = asyncio.Event()
        self._outage = OutageLog(_logger, "channels cannot be opened", "channels open again")

    def __len__(self) -> int:
        return len(self._openings)

    def early_events(self, channel: str) -> int | None:
        """Return the number of events announced before the channel is open; None if it is not."""
        opening = self._openings.get(channel)
        return None if opening is None else len(opening.early_events)

    async def open(self, channel: str) -> None:
        """Wait until the channel is open.

        Raises:
            BackendUnavailableError: the channel cannot be opened now.

        """
        opening = self._openings.get(channel)
        if opening is None:
            opening = self._openings[channel] = _Opening()
            if self._at_once:
                await self._try_open([channel])
            else:
                self._requested.append(channel)
                self._wake.set()
        if not opening.opened.done():
            # One request that is cancelled must not cancel the opening for the others.
            await asyncio.shield(opening.opened)
        opening.opened.result()

    def buffer(self, channel: str, events: Iterable[Event]) -> None:
        """Store events announced on a channel that is not open yet."""
        if opening := self._openings.get(channel):
            opening.early_events.extend(events)

    def finish(self, channel: str) -> list[Event]:
        """Resume the requests that wait for the channel, and return the events stored for it."""
        opening = self._openings.pop(channel)
        opening.opened.set_result(None)
        return opening.early_events

    def fail_all(self, problem: object) -> None:
        """Fail all pending requests."""
        self._requested.clear()
        self._fail(list(self._openings), problem)

    async def run(self) -> None:
        """Open the requested channels, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._requested:
                channels = self._requested[:MAX_CHANNELS]
                del self._requested[:MAX_CHANNELS]
                await self._try_open(channels)

    async def _try_open(self, channels: list[str]) -> None:
        try:
            await self._open_all(channels)
        except Exception as error:
            self._outage.failed(error, count=len(channels))
            self._fail(channels, error)
        else:
            self._outage.works()
        finally:
            # Also if this task is cancelled: a request must not wait without end.
            self._fail(channels, "opening was cancelled")

    def _fail(self, channels: list[str], problem: object) -> None:
        for channel in channels:
            if opening := self._openings.pop(channel, None):
                opening.fail(problem)
