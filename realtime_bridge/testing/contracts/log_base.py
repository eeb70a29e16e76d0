"""Who is asked in the suites of a log, and how."""

import pytest

from realtime_bridge.backend.log import Log
from realtime_bridge.model.event import MAX_BATCH, Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.testing.contracts.samples import new_channel, numbered

ANOTHER_EPOCH = "zzzzzzzz"


class LogSuite:
    """Who sends, who receives, and where."""

    pytestmark = pytest.mark.asyncio

    history_events = 1_000
    """What the log under test was told to keep a channel."""

    @pytest.fixture
    def receiver(self, sender: Log) -> Log:
        """Return who reads; here the sender itself."""
        return sender

    @pytest.fixture
    def channel(self) -> str:
        """Return a channel of this test alone."""
        return new_channel()


def place(position: Position | None) -> Position:
    """Return the position, which a log gives at once."""
    assert position, "a log that numbers later cannot be tested by this contract"
    return position


def named(
    channel: str,
    data: object,
    *,
    id: str | None = None,  # noqa: A002 -- the field's name on the wire
    key: str | None = None,
) -> Event:
    """Make one event of this id or key."""
    return Event(channel=channel, event="contract.named", data=data, id=id, key=key)


async def fill(log: Log, channel: str, count: int) -> Position:
    """Append so many numbered events, and return the top."""
    for start in range(1, count + 1, MAX_BATCH):
        events = numbered(channel, min(MAX_BATCH, count + 1 - start), start=start)
        *_, last = await log.append(events)
    return place(last.position)


async def read(log: Log, channel: str, *, after: int = 0) -> Page:
    """Read what follows offset `after`."""
    top = (await log.positions([channel]))[channel]
    page = await log.read(channel, Position(top.epoch, after))
    assert isinstance(page, Page)
    return page


async def steps(log: Log, channel: str, *, after: int = 0) -> list[int]:
    """Read page by page what follows offset `after`."""
    taken: list[int] = []
    more = True
    while more:
        page = await read(log, channel, after=after + len(taken))
        taken += [event.data["step"] for event in page.events]
        more = page.more
    return taken
