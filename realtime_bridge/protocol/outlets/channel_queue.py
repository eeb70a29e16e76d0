"""Queue of the channels whose events an outlet has not delivered yet."""

from collections.abc import Iterable, Mapping

from realtime_bridge.model.position import Position

MAX_POSITIONS = 16_000
"""Positions in memory of channels that the log does not have now: about as many as it keeps of an
outlet."""


class ChannelQueue:
    """Channels of one outlet: which has events, and which has to wait after a failure.

    A channel that is taken belongs to its worker until it is returned, so its events stay in order.
    Times are seconds of a monotonic clock.

    Args:
        positions: the positions to which channels are delivered already.

    """

    def __init__(self, positions: Mapping[str, Position]) -> None:
        self._positions = dict(positions)
        self._tops: dict[str, Position] = {}
        self._ready: dict[str, None] = {}
        self._taken: set[str] = set()
        self._retries: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    def __len__(self) -> int:
        """Return the number of channels with events to deliver."""
        return len(self._ready) + len(self._taken) + len(self._retries)

    def update(self, tops: Mapping[str, Position]) -> None:
        """Queue the channels whose tops differ from what is delivered."""
        for channel, top in tops.items():
            self._tops[channel] = top
            self._queue(channel)

    def keep(self, channels: Iterable[str]) -> None:
        """Drop the tops of delivered channels that are not among these.

        Others stay until they are taken: what the log has removed of them is then found out. A
        position stays too, since the log may get another event of its epoch.
        """
        waiting = self._ready.keys() | self._taken | self._retries.keys()
        for channel in self._tops.keys() - set(channels) - waiting:
            del self._tops[channel]
            self._failures.pop(channel, None)
        # Without its position, a channel that the log has would be delivered again, without end.
        idle = [channel for channel in self._positions if channel not in self._tops]
        for channel in idle[: max(0, len(idle) - MAX_POSITIONS)]:
            del self._positions[channel]

    def position(self, channel: str) -> Position:
        """Return the position to which a channel is delivered; its start, if that is unknown."""
        return self._positions.get(channel) or Position(self._tops[channel].epoch, 0)

    def is_known(self, channel: str) -> bool:
        """Return whether an earlier delivery of a channel has left its position."""
        return channel in self._positions

    def take(self, now: float) -> str | None:
        """Take a channel that is due; None if none is."""
        for name in [name for name, due in self._retries.items() if due <= now]:
            del self._retries[name]
            self._ready[name] = None
        channel = next(iter(self._ready), None)
        if channel is not None:
            del self._ready[channel]
            self._taken.add(channel)
        return channel

    def next_retry(self) -> float | None:
        """Return the time of the next retry."""
        return min(self._retries.values(), default=None)

    def move(self, channel: str, position: Position) -> None:
        """Record that a taken channel is delivered up to a position."""
        self._positions.pop(channel, None)  # the dictionary is in the order of changes
        self._positions[channel] = position
        self._failures.pop(channel, None)

    def release(self, channel: str) -> None:
        """Return a taken channel; it is queued again if it has more events."""
        self._taken.discard(channel)
        self._queue(channel)

    def fail(self, channel: str) -> int:
        """Count a failure of a taken channel, and return the number in a row."""
        self._failures[channel] = self._failures.get(channel, 0) + 1
        return self._failures[channel]

    def retry_at(self, channel: str, time: float) -> None:
        """Return a taken channel, for another attempt at a time."""
        self._taken.discard(channel)
        self._retries[channel] = time

    def _queue(self, channel: str) -> None:
        is_waiting = channel in self._taken or channel in self._retries
        if not is_waiting and self._tops[channel].offset and not self._is_delivered(channel):
            self._ready[channel] = None

    def _is_delivered(self, channel: str) -> bool:
        return self._positions.get(channel) == self._tops[channel]
