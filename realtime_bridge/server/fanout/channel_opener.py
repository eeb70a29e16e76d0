"""The channels that are being opened: each once however many ask, and all that wait in one go."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.model.event import Event

AT_ONCE = 1_000
"""The most channels that the log is asked about in one call."""

_logger = logging.getLogger("realtime_bridge.server")


class _Opening:
    """One channel: who waits for it, and what was heard before it was open."""

    __slots__ = ("early", "opened")

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.early: list[Event] = []

    def fail(self, problem: object) -> None:
        if not self.opened.done():
            self.opened.set_exception(BackendUnavailableError(f"It cannot be heard now: {problem}"))
            self.opened.exception()


class ChannelOpener:
    """Opens what is asked for while it runs.

    Args:
        open_all: opens some channels, and calls `finish` for each; what it raises is their failure.

    """

    def __init__(self, open_all: Callable[[list[str]], Awaitable[None]]) -> None:
        self._open_all = open_all
        self._under_way: dict[str, _Opening] = {}
        self._waiting: list[str] = []
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._under_way)

    async def opened(self, channel: str) -> None:
        """Wait until the channel is open.

        Raises:
            BackendUnavailableError: it cannot be opened now.

        """
        opening = self._under_way.get(channel)
        if opening is None:
            opening = self._under_way[channel] = _Opening()
            self._waiting.append(channel)
            self._wake.set()
        await asyncio.shield(opening.opened)

    def hear(self, channel: str, events: Iterable[Event]) -> None:
        """Keep what was announced on a channel that is not open yet."""
        if opening := self._under_way.get(channel):
            opening.early.extend(events)

    def finish(self, channel: str) -> list[Event]:
        """Let those go on who wait for the channel, and return what was heard early."""
        opening = self._under_way.pop(channel)
        opening.opened.set_result(None)
        return opening.early

    def give_up(self, problem: object) -> None:
        """Fail all that is under way."""
        self._waiting.clear()
        self._fail(list(self._under_way), problem)

    async def run(self) -> None:
        """Open what waits, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                channels = self._waiting[:AT_ONCE]
                del self._waiting[:AT_ONCE]
                await self._try(channels)

    async def _try(self, channels: list[str]) -> None:
        try:
            await self._open_all(channels)
        except Exception as error:
            _logger.warning("%d channels cannot be opened: %r", len(channels), error)
            self._fail(channels, error)

    def _fail(self, channels: list[str], problem: object) -> None:
        for channel in channels:
            if opening := self._under_way.pop(channel, None):
                opening.fail(problem)
