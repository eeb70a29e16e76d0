"""Events that a backend has but cannot read: skipped, counted and logged."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from realtime_bridge.model.event import Event
from realtime_bridge.protocol.wire.messages import ProtocolError

_logger = logging.getLogger("realtime_bridge.feed")

MAX_CHANNELS = 1_000
"""Channels whose unreadable events are counted."""

T = TypeVar("T")

UNREADABLE = (ProtocolError, ValueError)
"""Errors of an event that cannot be read; a reader raises no other ones for its content."""


class UnreadableEvents:
    """Counters of unreadable events by channel; few of them are logged.

    Args:
        source: the name of the server that has the events, for messages.

    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._counts: dict[str, int] = {}

    def read_all(
        self, channel: str, stored: Iterable[T], read: Callable[[T], Event]
    ) -> Iterator[Event]:
        """Yield the events of a channel's stored parts, and skip the unreadable ones."""
        for part in stored:
            try:
                event = read(part)
            except UNREADABLE as error:
                self.skip(channel, error)
            else:
                yield event

    def skip(self, channel: str, error: Exception) -> None:
        """Count an unreadable event, and log the 1st, 10th, 100th … of its channel."""
        if len(self._counts) >= MAX_CHANNELS:
            self._counts.clear()
        count = self._counts[channel] = self._counts.get(channel, 0) + 1
        if set(str(count)[1:]) <= {"0"} and str(count)[0] == "1":
            _logger.warning(
                "unreadable event skipped channel=%s count=%d source=%r error=%r: its clients "
                "load their state again; publish with this library alone",
                channel,
                count,
                self._source,
                str(error) or type(error).__name__,
            )
