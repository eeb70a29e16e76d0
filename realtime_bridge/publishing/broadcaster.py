"""What a worker holds: publish once, and every browser that may see it does."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from msgspec.structs import replace

from realtime_bridge.backend.log import Log, TransactionalLog
from realtime_bridge.backend.push import Backend
from realtime_bridge.errors import BackendUnavailableError, ConfigurationError, PublishError
from realtime_bridge.model.event import MAX_DATA_BYTES, Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.protocol import backoff
from realtime_bridge.protocol.publishing.published_positions import PublishedPositions, regressed
from realtime_bridge.publishing import pipeline
from realtime_bridge.publishing.batch import validate_batch
from realtime_bridge.publishing.local_servers import local_server
from realtime_bridge.publishing.task_set import TaskSet

if TYPE_CHECKING:
    from realtime_bridge.jobs.job import AsyncJob
    from realtime_bridge.settings import Settings

CALL_TIMEOUT = 5.0
"""The longest a publish may take, in seconds, retries included."""

RETRIES = 4
"""How often a retryable failure of the log is tried again within that time."""

_logger = logging.getLogger("realtime_bridge.publishing")


class Broadcaster:
    """Publishes events: appends them to the log, then pushes them through the backend.

    Use it as an async context manager, in one event loop. Whether a publish succeeded is decided
    by the log; without a log (signal mode), by the push.

    Args:
        log: gives positions and remembers; None is signal mode.
        backend: pushes towards browsers, where the log does not announce by itself.
        limit_event_bytes: the most bytes of one event's data, encoded.

    Raises:
        ConfigurationError: there is neither, so nothing would arrive anywhere.

    """

    def __init__(
        self,
        *,
        log: Log | None = None,
        backend: Backend | None = None,
        limit_event_bytes: int = MAX_DATA_BYTES,
    ) -> None:
        if log is None and backend is None:
            raise ConfigurationError(
                "Nothing carries the events: this REALTIME_BACKEND delivers from a log, "
                "so REALTIME_LOG may not be none"
            )
        self.log = log
        self.backend = backend
        self._limit_event_bytes = limit_event_bytes
        self._prefix: str | None = None
        self.published = 0
        """How many events the log, or without one the backend, has taken."""
        self.unpushed = 0
        """How many of them were not pushed: they wait for recovery."""
        self._tops = PublishedPositions()
        self._exits = AsyncExitStack()
        self.tasks = TaskSet()

    @classmethod
    def from_env(cls) -> Self:
        """Make the broadcaster that the `REALTIME_*` variables describe.

        In the process of a running server it publishes straight to that server's log.

        Raises:
            ConfigurationError: the configuration cannot work; it says why and what to do.

        """
        from realtime_bridge.settings import Settings

        return cls.from_settings(Settings.load())

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Make the broadcaster of a configuration that was read already; see `from_env`."""
        parts = pipeline.worker_pipeline(settings)
        limit = settings.limit_event_bytes
        broadcaster = cls(log=parts.log, backend=parts.backend, limit_event_bytes=limit)
        broadcaster._prefix = settings.prefix
        return broadcaster

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            for part in (self.log, self.backend):
                if part is not None:
                    await exits.enter_async_context(part)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.tasks.cancel_all()
        await self._exits.aclose()

    def job(
        self,
        channel: str,
        *,
        id: str | None = None,  # noqa: A002 -- as in `publish`
        title: str | None = None,
    ) -> "AsyncJob":
        """Return a job that tells its life on the channel: `async with broadcaster.job(…) as job`.

        Raises:
            InvalidEventError: the channel or the id is not valid.

        """
        from realtime_bridge.jobs.job import AsyncJob

        return AsyncJob(channel, id, title, lambda tell: self.tasks.spawn(tell(self)))

    async def publish(
        self,
        channel: str,
        event: str,
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 -- the field's name on the wire
        key: str | None = None,
        source: str | None = None,
        transaction: object = None,
    ) -> Receipt:
        """Publish one event, and return what became of it; see `Event` for the arguments.

        With a `transaction`, a connection or session of the database that the log is in, the event
        exists exactly if that commits: then it gets its position, which the receipt cannot know.

        Raises:
            InvalidEventError: the event cannot be published at all.
            PublishError: it was not published, or not known to be within 5 seconds. Publishing the
                same `id` again is safe.
            ConfigurationError: the log is in no database, or the transaction in no connection that
                it knows.

        """
        made: Event = Event.create(channel, event, data, id, key, source)
        (receipt,) = await self.publish_many([made], transaction=transaction)
        return receipt

    async def publish_many(
        self, events: Iterable[Event], *, transaction: object = None
    ) -> list[Receipt]:
        """Publish up to 500 events in order, in one round trip where the backend can.

        Raises:
            InvalidEventError: there are more than 500.
            PublishError: as for `publish`; some of the events may have been published.
            ConfigurationError: as for `publish`.

        """
        batch = validate_batch(events, self._limit_event_bytes)
        if transaction is not None:
            if writing := self.write(batch, transaction):
                await writing
            return _unnumbered(batch)
        served = local_server(self._prefix)
        if served is not None and served.broadcaster is not self:
            return await served.publish_many(batch)
        receipts = await self._append(self.log, batch) if self.log else _unnumbered(batch)
        if self.backend is not None and batch:
            receipts = await self._push(batch, receipts)
        self.published += len(batch)
        return receipts

    def write(self, batch: Sequence[Event], transaction: object) -> Awaitable[None] | None:
        """Write the events within the caller's transaction; what an async one has to await.

        Raises:
            ConfigurationError: as for `publish`.

        """
        if not isinstance(self.log, TransactionalLog):
            raise ConfigurationError(
                f"{self.log or 'No log'} is in no transaction: set REALTIME_LOG=postgres, or leave "
                "out `transaction` and publish after the commit"
            )
        return self.log.append_in_transaction(transaction, batch)

    def is_on_server_loop(self) -> bool:
        """Tell whether the running event loop is that of the server this publishes to."""
        served = local_server(self._prefix)
        return served is not None and asyncio._get_running_loop() is served.loop

    def _append(self, log: Log, batch: Sequence[Event]) -> Awaitable[list[Receipt]]:
        return log.append(batch) if log.in_process else self._append_in_time(log, batch)

    async def _append_in_time(self, log: Log, batch: Sequence[Event]) -> list[Receipt]:
        failure: PublishError | None = None
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                for attempt in range(RETRIES + 1):
                    try:
                        return await self._append_once(log, batch)
                    except PublishError as error:
                        if not error.retryable or attempt == RETRIES:
                            raise
                        failure = error
                    _logger.info("append failed, trying again: %s", failure)
                    await asyncio.sleep(backoff.delay(attempt, random.random(), base=0.2))  # noqa: S311
        except TimeoutError as error:
            raise failure or _too_late(log) from error
        raise AssertionError("unreachable")

    async def _append_once(self, log: Log, batch: Sequence[Event]) -> list[Receipt]:
        """Append, and once more in a new epoch where the log has lost what we were told it had."""
        before = self._tops.of(batch)
        receipts = await log.append(batch)
        lost = regressed(before, batch, receipts)
        if lost:
            _logger.warning("the log lost events of %s: a new epoch", ", ".join(lost))
            for channel, epoch in lost.items():
                await log.rotate_epoch(channel, epoch)
            again = iter(await log.append([event for event in batch if event.channel in lost]))
            receipts = [
                next(again) if event.channel in lost else receipt
                for event, receipt in zip(batch, receipts, strict=True)
            ]
        self._tops.note(batch, receipts)
        return receipts

    async def _push(self, batch: Sequence[Event], receipts: list[Receipt]) -> list[Receipt]:
        assert self.backend
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                await self.backend.push(await self._as_stored(batch, receipts))
        except (PublishError, TimeoutError) as error:
            failure = error if isinstance(error, PublishError) else _too_late(self.backend)
            if self.log is None:
                raise failure from error
            self.unpushed += len(batch)
            _logger.warning("pushed nothing, recovery delivers it from the log: %s", failure)
            return [replace(receipt, pushed=False) for receipt in receipts]
        return receipts

    async def _as_stored(self, batch: Sequence[Event], receipts: list[Receipt]) -> list[Event]:
        """Return what the log holds of the batch: of a duplicate the first data, unless trimmed."""
        now = time.time_ns() // 1_000_000
        stored: list[Event] = []
        for event, receipt in zip(batch, receipts, strict=True):
            if receipt.duplicate and receipt.position and self.log:
                place = receipt.position
                before = Position(place.epoch, place.offset - 1)
                page = await self.log.read(event.channel, before, 1)
                stored += page.events if isinstance(page, Page) else ()
            else:
                stored.append(event.with_position(receipt.position, now))
        return stored


def _unnumbered(batch: Iterable[Event]) -> list[Receipt]:
    return [Receipt(id=event.id) for event in batch]


def _too_late(part: Log | Backend) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"{part} did not answer within {CALL_TIMEOUT:g} s: check that it runs and can be reached. "
        "Publishing the same id again is safe"
    )
