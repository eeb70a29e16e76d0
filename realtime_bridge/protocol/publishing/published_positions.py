"""Last published position of each channel; shows that a log was rolled back."""

from collections.abc import Iterable, Mapping, Sequence

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt

MAX_CHANNELS = 10_000
"""Channels whose positions are stored; beyond this number the oldest entry is dropped."""


class PublishedPositions:
    """Last position of each channel that this process was given by the log."""

    def __init__(self) -> None:
        self._positions: dict[str, Position] = {}

    def of(self, batch: Iterable[Event]) -> Mapping[str, Position]:
        """Return the last positions of the channels of a batch, before it is appended."""
        known = self._positions
        return {event.channel: known[event.channel] for event in batch if event.channel in known}

    def record(self, batch: Sequence[Event], receipts: Sequence[Receipt]) -> None:
        """Store the positions that the log gave to a batch."""
        for event, receipt in zip(batch, receipts, strict=True):
            if receipt.position and not receipt.duplicate:
                self._positions[event.channel] = receipt.position
        while len(self._positions) > MAX_CHANNELS:
            del self._positions[next(iter(self._positions))]


def rolled_back_channels(
    before: Mapping[str, Position], batch: Sequence[Event], receipts: Sequence[Receipt]
) -> dict[str, str]:
    """Return the channels, with their epochs, on which the log gave a position a second time.

    Args:
        before: positions that were known when the append began. Later ones prove nothing: the
            log may answer concurrent appends in any order.
        batch: events of the append.
        receipts: receipts of the append.

    """
    channels: dict[str, str] = {}
    for event, receipt in zip(batch, receipts, strict=True):
        last, position = before.get(event.channel), receipt.position
        if not last or not position or receipt.duplicate or position.epoch != last.epoch:
            continue
        if position.offset <= last.offset:
            channels[event.channel] = last.epoch
    return channels
