"""Parts of a broadcaster that jobs need: publisher of events, and runner of reports."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, Protocol

from realtime_bridge.jobs.outage import Outage
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.receipt import Lease, Receipt, Renewal


class Leases(Protocol):
    """Keeper of leases; see `publishing.lease_keeper`."""

    def add(self, lease: Lease, notice: Callable[[Renewal], None]) -> None:
        """Renew a lease from now on, and pass each answer to `notice`."""

    def hurry(self, lease: Lease, *, is_urgent: bool) -> None:
        """Renew a lease every second, or no longer so often."""

    def remove(self, lease: Lease) -> None:
        """Renew a lease no more."""


class ItemWriter(Protocol):
    """Writer of a stream in a broadcaster's event loop; see `publishing.stream_writer`."""

    async def begin(self) -> None:
        """Start to publish.

        Raises:
            RealtimeError: the log did not answer, or keeps no streams.

        """

    def add(self, item: bytes) -> None:
        """Add an item, as JSON.

        Raises:
            StreamError: the stream takes no more items.

        """

    async def finish(
        self, state: Literal["completed", "failed"], error: str | None, seconds: float
    ) -> None:
        """End the stream, and wait until it is published: at most so many seconds."""


class Publisher(Protocol):
    """Publisher of reports in a broadcaster's event loop; they share the outage of their log."""

    @property
    def outage(self) -> Outage:
        """Outage of the log, if there is one."""

    @property
    def batch_turn(self) -> asyncio.Lock:
        """Lock of the batches, which are published one after the other."""

    @property
    def leases(self) -> Leases | None:
        """Keeper of the leases; None where the log keeps no keys with owners."""

    async def publish_many(self, events: Sequence[Event]) -> list[Receipt]:
        """Publish events in order.

        Raises:
            RealtimeError: some of the events were not published.

        """

    def item_writer(
        self, channel: str, stream: str, *, meta: Any, attempt: str, pace: float
    ) -> ItemWriter:
        """Return the writer of a stream of texts."""

    async def read_key(self, channel: str, key: str) -> Page:
        """Return what the log has of a key.

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


class JobHost(Protocol):
    """Broadcaster, as its jobs need it."""

    @property
    def reports(self) -> ReportRunner:
        """Runner of the jobs' reports."""

    def job(
        self,
        channel: str,
        *,
        id: str | None = None,  # noqa: A002 -- as in `publish`
        title: str | None = None,
        parent: str | None = None,
        cancellable: bool = False,
    ) -> Any:
        """Return a job; see `Broadcaster.job`."""

    def stream(
        self,
        channel: str,
        *,
        id: str | None = None,  # noqa: A002 -- as in `publish`
        format: Any = "text",  # noqa: A002 -- the field's name on the wire
        meta: Any = None,
        attempt: str | None = None,
    ) -> Any:
        """Return a stream; see `Broadcaster.stream`."""
