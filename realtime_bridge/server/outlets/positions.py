"""Positions of an outlet in the log: how far each channel is delivered."""

import hashlib

import orjson

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.log import Log
from realtime_bridge.model.channel import CONTROL
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position

SHARDS = 16
"""Channels of the log that share an outlet's positions: a log keeps 1 000 keys of each. Without
its position, a channel is delivered again from its oldest event on."""


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
