"""Empty log for signal mode, in which a hosted provider delivers and no log is configured."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

from realtime_bridge.backend.feed import Feed, FeedInterrupted, Listener
from realtime_bridge.backend.log import Log
from realtime_bridge.errors import PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

NOWHERE = Position("00000000", 0)


class NullLog(Log, Feed):
    """Log without events; each read returns a reset with the reason `signal`."""

    def __str__(self) -> str:
        return "no log"

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:  # noqa: ARG003 -- nothing to configure
        """Create the log."""
        return cls()

    async def append(self, events: Sequence[Event]) -> list[Receipt]:  # noqa: ARG002
        """Raise PublishError: a receipt would promise recovery.

        Raises:
            PublishError: always.

        """
        raise PublishError("The event cannot be stored (REALTIME_LOG=none): set REALTIME_LOG")

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:  # noqa: ARG002
        """Return a reset, since events may be missing."""
        return Reset(reason="signal", top=NOWHERE)

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return the same position for every channel."""
        return dict.fromkeys(channels, NOWHERE)

    async def latest(self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS) -> Page:  # noqa: ARG002
        """Return an empty page."""
        return Page(events=(), top=NOWHERE)

    async def generation(self, configuration: str) -> int:  # noqa: ARG002
        """Return 1 in every process: without a log, processes cannot agree on a counter."""
        return 1

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:  # noqa: ARG002
        """Return the same position; there is no epoch."""
        return NOWHERE

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[Listener]:
        """Open a listener without events."""
        yield _SilentListener()


class _SilentListener(Listener):
    async def subscribe(self, channels: Iterable[str]) -> None:
        pass

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[Sequence[Event] | FeedInterrupted]:
        await asyncio.Event().wait()
        yield FeedInterrupted()
