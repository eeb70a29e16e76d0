"""Fixtures and helpers that the contracts of a log share."""

from typing import ClassVar

import pytest

from realtime_bridge.backend.log import Log
from realtime_bridge.model.event import MAX_BATCH, Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.testing.contracts.samples import new_channel, numbered

ANOTHER_EPOCH = "zzzzzzzz"


class LogContractBase:
    """Fixtures of a log's contracts: a sending view, a receiving view, and a channel."""

    pytestmark: ClassVar[pytest.MarkDecorator] = pytest.mark.asyncio

    history_events = 1_000
    """Number of events that the log under test keeps in each channel."""

    @pytest.fixture
    def receiver(self, sender: Log) -> Log:
        """Return the log that reads; without another view it is the sender."""
        return sender

    @pytest.fixture
    def channel(self) -> str:
        """Return a channel that no other test uses."""
        return new_channel()


def position_of(receipt: Receipt) -> Position:
    """Return the position of an appended event."""
    assert receipt.position, "this contract needs a log that assigns positions in append()"
    return receipt.position


def make_event(
    channel: str,
    data: object,
    *,
    id: str | None = None,  # noqa: A002 -- the field's name on the wire
    key: str | None = None,
) -> Event:
    """Create an event with this data, id and key."""
    return Event(channel=channel, event="contract.event", data=data, id=id, key=key)


async def append_numbered(log: Log, channel: str, count: int) -> Position:
    """Append `count` numbered events in full batches; return the last position."""
    for start in range(1, count + 1, MAX_BATCH):
        events = numbered(channel, min(MAX_BATCH, count + 1 - start), start=start)
        *_, last = await log.append(events)
    return position_of(last)


async def read_page(log: Log, channel: str, *, after: int = 0) -> Page:
    """Read the first page after offset `after` of the current epoch."""
    top = (await log.positions([channel]))[channel]
    page = await log.read(channel, Position(top.epoch, after))
    assert isinstance(page, Page)
    return page


async def read_steps(log: Log, channel: str, *, after: int = 0) -> list[int]:
    """Read all pages after offset `after`; return the numbers of the events."""
    steps: list[int] = []
    more = True
    while more:
        page = await read_page(log, channel, after=after + len(steps))
        steps += [event.data["step"] for event in page.events]
        more = page.more
    return steps
