"""What stands for the log where there is none: it knows nothing, and never says otherwise."""

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
    """Signal mode: each question for what was missed is answered by `reset{signal}`."""

    def __str__(self) -> str:
        return "no log"

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:  # noqa: ARG003 -- it needs none
        """Make one; it needs nothing."""
        return cls()

    async def append(self, events: Sequence[Event]) -> list[Receipt]:  # noqa: ARG002
        """Refuse: nothing may believe that it was remembered."""
        raise PublishError("There is no log here (REALTIME_LOG=none)")

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:  # noqa: ARG002
        """Say that there may be a hole."""
        return Reset(reason="signal", top=NOWHERE)

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Say that no channel ever moved."""
        return dict.fromkeys(channels, NOWHERE)

    async def latest(self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS) -> Page:  # noqa: ARG002
        """Return nothing."""
        return Page(events=(), top=NOWHERE)

    async def generation(self, configuration: str) -> int:  # noqa: ARG002
        """Return the same in every process: nothing here can tell a later one from an earlier."""
        return 1

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:  # noqa: ARG002
        """Change nothing."""
        return NOWHERE

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[Listener]:
        """Open a listener that never hears anything."""
        yield _SilentListener()


class _SilentListener(Listener):
    async def subscribe(self, channels: Iterable[str]) -> None:
        pass

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[Sequence[Event] | FeedInterrupted]:
        await asyncio.Event().wait()
        yield FeedInterrupted()
