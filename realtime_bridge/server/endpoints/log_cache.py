"""Recent answers of the log: many polls from the same position cost one read."""

import time

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.lifecycle.null_log import NOWHERE
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline

MAX_CACHED = 10_000
"""The most answers of the log in the cache."""


class LogCache:
    """Recent answers of the log.

    Args:
        pipeline: the log.
        hub: the offsets fanned out here, which show that an answer is outdated.
        seconds: the time that an answer is kept.
        capacity: the most answers.

    """

    def __init__(
        self, pipeline: ServerPipeline, hub: Hub, *, seconds: float, capacity: int = MAX_CACHED
    ) -> None:
        self._pipeline = pipeline
        self._hub = hub
        self._seconds = seconds
        self._capacity = capacity
        self._entries: dict[tuple[object, ...], tuple[float, Page | Reset]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, channel: str, after: Position | None) -> Page | Reset | None:
        """Return the stored answer for a position, or for the present; None without one."""
        now = time.monotonic()
        self.expire(now)
        entry = self._entries.get(_key(channel, after))
        if entry and now < entry[0] and self._is_current(channel, entry[1]):
            return entry[1]
        return None

    async def read(self, channel: str, after: Position | None) -> Page | Reset:
        """Return the stored answer, or the log's.

        Raises:
            PublishError: the log cannot be read.

        """
        if answer := self.find(channel, after):
            return answer
        until = time.monotonic() + self._seconds
        answer = await self._read_log(channel, after)
        # Removed first: a dictionary keeps the place of a key, and the oldest entry has to lead.
        key = _key(channel, after)
        self._entries.pop(key, None)
        self._entries[key] = until, answer
        return answer

    def expire(self, now: float) -> None:
        """Remove the answers that are too old, and the oldest above the capacity."""
        while self._entries:
            oldest = next(iter(self._entries))
            if now < self._entries[oldest][0] and len(self._entries) < self._capacity:
                return
            del self._entries[oldest]

    def _is_current(self, channel: str, answer: Page | Reset) -> bool:
        """Return whether this process fanned out no later event of the channel."""
        # A client that received a later event by push must not get an older position by poll.
        return self._hub.top(channel) in (None, answer.top.offset)

    async def _read_log(self, channel: str, after: Position | None) -> Page | Reset:
        log = self._pipeline.log
        if after is not None or not self._pipeline.has_log:
            return await backend_call(log, log.read, channel, after or NOWHERE)
        tops = await backend_call(log, log.positions, [channel])
        return Page(events=(), top=tops[channel])


def _key(channel: str, after: Position | None) -> tuple[object, ...]:
    return (channel, after.epoch, after.offset, after.id) if after else (channel,)
