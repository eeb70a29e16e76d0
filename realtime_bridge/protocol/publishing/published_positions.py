"""How far a publisher has seen each channel get, so that it notices a log that lost its tail."""

from collections.abc import Iterable, Mapping, Sequence

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt

REMEMBERED = 10_000
"""Channels whose tops are remembered; beyond that the one noted first is forgotten."""


class PublishedPositions:
    """The last position that this process was given on each channel."""

    def __init__(self) -> None:
        self._tops: dict[str, Position] = {}

    def of(self, batch: Iterable[Event]) -> Mapping[str, Position]:
        """Return the tops of the channels that are about to be appended to."""
        tops = self._tops
        return {event.channel: tops[event.channel] for event in batch if event.channel in tops}

    def note(self, batch: Sequence[Event], receipts: Sequence[Receipt]) -> None:
        """Remember where the events were placed."""
        for event, receipt in zip(batch, receipts, strict=True):
            if receipt.position and not receipt.duplicate:
                self._tops[event.channel] = receipt.position
        while len(self._tops) > REMEMBERED:
            del self._tops[next(iter(self._tops))]


def regressed(
    before: Mapping[str, Position], batch: Sequence[Event], receipts: Sequence[Receipt]
) -> dict[str, str]:
    """Return the channels, with their epochs, on which a place was given out a second time.

    Args:
        before: the tops that were known when the append began; later ones prove nothing, since
            appends that are under way together may be answered in any order.
        batch: what was appended.
        receipts: what the log says of it.

    """
    lost: dict[str, str] = {}
    for event, receipt in zip(batch, receipts, strict=True):
        seen, given = before.get(event.channel), receipt.position
        if not seen or not given or receipt.duplicate or given.epoch != seen.epoch:
            continue
        if given.offset <= seen.offset:
            lost[event.channel] = seen.epoch
    return lost
