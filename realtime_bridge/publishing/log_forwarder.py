"""Copy of one log's events to another, while a deployment changes its log."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from realtime_bridge.backend.listable_log import ListableLog
from realtime_bridge.backend.log import Log
from realtime_bridge.model.event import MAX_BATCH, Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.wire.messages import reached
from realtime_bridge.publishing.broadcaster import Broadcaster

CHANNELS = 500
"""Channels whose positions are compared at once."""


class LogForwarder:
    """Copier of the events that the earlier log of a deployment still receives.

    The first pass copies the latest event of each key, because clients load it as their snapshot,
    and begins a new epoch in the target: what was appended before it and never copied is then a
    reset for the clients that have moved. Each later pass copies what was appended since. The
    target's log knows an event by its id, so a pass may be repeated after a failure.

    Args:
        source: the earlier log.
        target: publisher to the log that replaces it.
        log: the target's log.

    """

    def __init__(self, source: ListableLog, target: Broadcaster, log: Log) -> None:
        self._source = source
        self._target = target
        self._log = log
        self._is_started = False
        self._positions: dict[str, Position] = {}
        """Position in the source that each channel is copied to."""

    async def copy(self) -> int:
        """Copy all channels once, and return the number of events.

        Raises:
            PublishError: one of the logs failed; call again.
            InvalidEventError: an event is larger than the target's limit.

        """
        count, names = 0, await self._source.channels()
        for start in range(0, len(names), CHANNELS):
            tops = await self._source.positions(names[start : start + CHANNELS])
            for channel, top in tops.items():
                count += await self._copy_channel(channel, top)
        self._is_started = True
        return count

    async def _copy_channel(self, channel: str, top: Position) -> int:
        position = self._positions.get(channel)
        if not self._is_started and position is None and top.offset:
            return await self._restart(channel, top)
        # The channel was empty, or did not exist: the log may have begun another epoch meanwhile.
        if position is None or position.offset == 0:
            position = Position(top.epoch, 0)
        return await self._copy_since(channel, position) if position != top else 0

    async def _copy_since(self, channel: str, position: Position) -> int:
        count, more = 0, True
        while more:
            answer = await self._source.read(channel, position)
            if isinstance(answer, Reset):
                return count + await self._restart(channel, answer.top)
            await self._append(answer.events)
            count += len(answer.events)
            self._positions[channel] = position = reached(answer)
            more = answer.more
        return count

    async def _restart(self, channel: str, top: Position) -> int:
        """Begin an epoch in the target, where events before `top` are not copied."""
        source = await _latest(self._source, channel)
        target_top = (await self._log.positions([channel]))[channel]
        # Read just before its end: the new epoch has no latest events of its own.
        target = await _latest(self._log, channel)
        # A new epoch is a reset for every client of the channel, those that are away included.
        await self._log.rotate_epoch(channel, target_top.epoch)
        # A key that the target has is newer there: its publisher has already moved.
        known = {event.key for event in target}
        missing = [event for event in source if event.key not in known]
        await self._append([*missing, *target])
        self._positions[channel] = top
        return len(missing)

    async def _append(self, events: Sequence[Event]) -> None:
        for start in range(0, len(events), MAX_BATCH):
            await self._target.publish_many(_without_positions(events[start : start + MAX_BATCH]))


def _without_positions(events: Iterable[Event]) -> list[Event]:
    return [replace(event, time=None, position=None) for event in events]


async def _latest(log: Log, channel: str) -> list[Event]:
    """Return the latest event of each key, by offset."""
    events: list[Event] = []
    after, more = 0, True
    while more:
        page = await log.latest(channel, after=after)
        events += page.events
        more = page.more
        if last := page.events[-1].position if page.events else None:
            after = last.offset
    return events
