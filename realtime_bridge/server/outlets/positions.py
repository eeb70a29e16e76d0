"""Positions of an outlet in the log: how far each channel is delivered."""

import hashlib

import orjson

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.log import Log
from realtime_bridge.model.channel import CONTROL
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset

SHARDS = 16
"""Channels of the log that share an outlet's positions: a log keeps 1 000 keys of each. A channel
without events for 10 minutes needs no position, and its key goes first."""


class OutletPositions:
    """Positions of one outlet, each a key in the log.

    Args:
        log: the log.
        outlet: id of the outlet.

    """

    def __init__(self, log: Log, outlet: str) -> None:
        self._log = log
        self._outlet = outlet

    async def load(self) -> dict[str, Position]:
        """Return all positions, by their channels.

        Raises:
            PublishError: the log is unavailable.

        """
        positions: dict[str, Position] = {}
        for shard in range(SHARDS):
            after, more = 0, True
            while more:
                name = self._channel(shard)
                page = await backend_call(self._log, self._log.latest, name, after=after)
                positions |= {str(event.key): _position(event) for event in page.events}
                more = page.more
                after = max((e.position.offset for e in page.events if e.position), default=after)
        return positions

    async def store(self, channel: str, position: Position) -> None:
        """Store the position of a channel.

        Raises:
            PublishError: the log is unavailable.

        """
        shard = hashlib.sha256(channel.encode()).digest()[0] % SHARDS
        body = orjson.dumps(position.to_json())
        event = Event.internal(self._channel(shard), "outlet.position", body, key=channel)
        await backend_call(self._log, self._log.append, [event])

    def _channel(self, shard: int) -> str:
        return f"{CONTROL}.outlet.{self._outlet}.{shard}"


def _position(event: Event) -> Position:
    return Position.from_json(event.data)


async def first_position(log: Log, channel: str, top: Position) -> Position:
    """Return the first position from which a log can continue, by halving.

    A log answers that a position is too old, but not which one is old enough. Of events that were
    trimmed, the oldest one that is left is this position itself. Where more of them are trimmed
    meanwhile, the next read is a reset too.

    Raises:
        PublishError: the log is unavailable.

    """
    low, high = 0, top.offset
    while low < high:
        middle = (low + high) // 2
        answer = await backend_call(log, log.read, channel, Position(top.epoch, middle), 1)
        if isinstance(answer, Reset):
            low = middle + 1
        else:
            high = middle
    return Position(top.epoch, low)
