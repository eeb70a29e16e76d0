"""Parts of a broadcaster that jobs need: publisher of events, and runner of reports."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from realtime_bridge.jobs.outage import Outage
from realtime_bridge.model.event import Event
from realtime_bridge.model.receipt import Receipt


class EventPublisher(Protocol):
    """Publisher of events in a broadcaster's event loop."""

    async def publish(
        self,
        channel: str,
        event: str,
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 -- the field's name on the wire
        key: str | None = None,
    ) -> Receipt:
        """Publish one event.

        Raises:
            RealtimeError: the event was not published.

        """

    async def publish_many(self, events: Sequence[Event]) -> list[Receipt]:
        """Publish events in order.

        Raises:
            RealtimeError: some of the events were not published.

        """


class Publisher(EventPublisher, Protocol):
    """Publisher of reports, which share the outage of their log."""

    @property
    def outage(self) -> Outage:
        """Outage of the log, if there is one."""

    @property
    def batch_turn(self) -> asyncio.Lock:
        """Lock of the batches, which are published one after the other."""

    async def has_key(self, channel: str, key: str) -> bool:
        """Return whether the log has an event of the key.

        Raises:
            RealtimeError: the log did not answer.

        """


Report = Callable[[Publisher], Coroutine[Any, Any, None]]
"""Publishes the updates of one job until none is pending."""


class ReportRunner(Protocol):
    """Runner of reports in the background of one broadcaster; any thread may call it."""

    def start(self, report: Report) -> None:
        """Start a report, now or when the broadcaster can connect.

        Raises:
            RealtimeError: this broadcaster can never run it.

        """

    def wait_seconds(self) -> float:
        """Return the longest time that a caller may wait for a report; 0 in an outage."""

    def begin_outage(self) -> None:
        """Record that a wait was in vain: the next caller does not wait."""
