"""Asynchronous publisher: appends events to the log, and pushes them through the backend."""

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import AsyncExitStack
from sys import modules
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

from realtime_bridge.backend.log import Log, TransactionalLog
from realtime_bridge.backend.push import Backend
from realtime_bridge.errors import ConfigurationError, InvalidEventError
from realtime_bridge.model.declaration import Publication, publication_events, published_event
from realtime_bridge.model.event import Event, create_event
from realtime_bridge.model.event_data import MAX_DATA_BYTES
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.publishing.batch_checks import check_batch, owned_key
from realtime_bridge.publishing.event_pusher import EventPusher
from realtime_bridge.publishing.jobs_and_streams import JobsAndStreams
from realtime_bridge.publishing.local_servers import local_server
from realtime_bridge.publishing.reports import Reports
from realtime_bridge.publishing.timing import PublishTiming
from realtime_bridge.publishing.undeclared import UndeclaredEvents
from realtime_bridge.tracing import OPENTELEMETRY, needs_publish_span, publish_span

if TYPE_CHECKING:
    from pydantic import BaseModel

    from realtime_bridge.publishing.log_writer import LogWriter
    from realtime_bridge.publishing.mirror import Mirror
    from realtime_bridge.settings import Settings

_logger = logging.getLogger("realtime_bridge.publishing")
_TIMING = PublishTiming()


class Broadcaster(JobsAndStreams):
    """Publisher of events: appends them to the log, then pushes them through the backend.

    Use it as an async context manager, in one event loop. Before it is entered, a log in PostgreSQL
    raises `ConfigurationError`, and others may open connections that nothing closes. The log
    decides whether a publish succeeded; without a log (signal mode), the push decides.

    Args:
        log: gives events their positions and stores them; None is signal mode.
        backend: pushes towards browsers, where the log does not announce by itself.
        limit_event_bytes: longest data of one event, in bytes of JSON.
        large_integers: whether events may have integers beyond 2^53, which browsers round.
        undeclared: rule for events that no class declares; None allows them.
        mirror: gets a copy of each event, beside the publish.
        timing: limits of one publish.

    Raises:
        ConfigurationError: there is neither a log nor a backend.

    """

    def __init__(
        self,
        *,
        log: Log | None = None,
        backend: Backend | None = None,
        limit_event_bytes: int = MAX_DATA_BYTES,
        large_integers: bool = False,
        undeclared: UndeclaredEvents | None = None,
        mirror: "Mirror | None" = None,
        timing: PublishTiming = _TIMING,
    ) -> None:
        if log is None and backend is None:
            raise ConfigurationError(
                "Nothing delivers the events: this REALTIME_BACKEND delivers from a log, "
                "so REALTIME_LOG may not be none"
            )
        self.log = log
        self.backend = backend
        self.published: int = 0
        """Number of events that the log, or without a log the backend, has accepted."""
        self.limit_event_bytes: int = limit_event_bytes
        """Longest data of one event, in bytes of JSON."""
        self._large_integers = large_integers
        self._undeclared = undeclared
        self._mirror = mirror
        self._timing = timing
        self._writer = _log_writer(log, timing)
        publishes_to_log_alone = log is not None and log.in_process and not (backend or mirror)
        self._append_now = log.append_now if log and publishes_to_log_alone else None
        self.reports: Reports = Reports(self, timing)
        self._prefix: str | None = None
        self._pusher = EventPusher(log, backend, timing) if backend else None
        self._exits = AsyncExitStack()

    @classmethod
    def from_env(cls) -> Self:
        """Return the broadcaster that the `REALTIME_*` variables describe.

        In the process of a running server it publishes to that server's log directly.

        Raises:
            ConfigurationError: the configuration cannot work.

        """
        from realtime_bridge.backend.environment import load_settings

        return cls.from_settings(load_settings())

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Return the broadcaster of a configuration; see `from_env`."""
        from realtime_bridge.publishing.pipeline import worker_pipeline

        pipeline = worker_pipeline(settings)
        broadcaster = cls(
            log=pipeline.log,
            backend=pipeline.backend,
            limit_event_bytes=settings.limit_event_bytes,
            large_integers=settings.large_integers,
            undeclared=UndeclaredEvents.from_setting(settings.undeclared_events),
            mirror=pipeline.mirror,
        )
        broadcaster._prefix = settings.prefix
        return broadcaster

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            # The log first: it closes last, since a failover records its target there.
            for part in (self.log, self.backend):
                if part is not None:
                    await exits.enter_async_context(part)
            if not (self._writer is None or isinstance(self._writer, Log)):
                exits.push_async_callback(self._writer.close)
            if self._mirror:
                exits.push_async_callback(self._mirror.close)
            # Reports need the log and their leases: they end before these.
            exits.push_async_callback(self._close_keys)
            await exits.enter_async_context(self.reports)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The first: their last items need the log, also if they began before this was entered.
        await self._close_streams()
        await self._exits.aclose()
        await self._close_keys()

    @property
    def unpushed(self) -> int:
        """Number of published events whose push failed: recovery delivers them."""
        return self._pusher.unpushed if self._pusher else 0

    @overload
    async def publish(
        self,
        channel: str,
        event: str,
        data: Any = None,
        *,
        id: str | None = None,
        key: str | None = None,
        source: str | None = None,
        transaction: object = None,
    ) -> Receipt: ...

    @overload
    async def publish(
        self,
        channel: "BaseModel",
        /,
        *,
        id: str | None = None,
        source: str | None = None,
        transaction: object = None,
    ) -> Receipt: ...

    async def publish(
        self,
        channel: "str | BaseModel",
        event: str | None = None,
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 -- the field's name on the wire
        key: str | None = None,
        source: str | None = None,
        transaction: object = None,
    ) -> Receipt:
        """Publish one event, and return its receipt; see `Event` for the arguments.

        An object of a declared class, see `realtime_bridge.events`, stands for channel, event,
        data and key.

        With a `transaction`, a connection or session of the log's database, the event exists
        exactly if that commits. The event gets its position then: the receipt has none.

        Raises:
            InvalidEventError: the event cannot be published at all.
            PublishError: the event was not published, or the log did not confirm it within 5 s.
                Publishing the same `id` again is safe.
            ConfigurationError: the log cannot use the transaction.

        """
        published: Event = (
            create_event(channel, event, data, id, key, source)  # type: ignore[arg-type]
            if type(channel) is str
            else published_event(channel, event, data, id=id, key=key, source=source)
        )
        receipt = self.publish_now(published) if transaction is None else None
        if receipt is None:
            (receipt,) = await self.publish_many([published], transaction=transaction)
        if receipt.refused:
            raise owned_key(published)
        return receipt

    def publish_now(self, event: Event) -> Receipt | None:
        """Publish one event without a wait, where a log in this process alone gets it.

        Returns:
            The receipt; None, with nothing published, where `publish_many` has to be awaited.

        Raises:
            PublishError: as for `publish_many`.

        """
        if (
            self._append_now is None
            or self._prefix is not None  # the server of this process may have another log
            or OPENTELEMETRY in modules  # a span surrounds the append
            or self._undeclared
            or event.has_large_integers
            or len(event.body) > self.limit_event_bytes
        ):
            return None
        receipt = self._append_now(event)
        if receipt is not None and receipt.refused is None:
            self.published += 1
        return receipt

    async def publish_many(
        self, events: Iterable[Publication], *, transaction: object = None
    ) -> list[Receipt]:
        """Publish up to 500 events in order, in one round trip where the log can.

        Raises:
            InvalidEventError: there are more than 500 events, or an event is too large, or has
                integers that browsers round.
            PublishError: as for `publish`; some of the events may have been published.
            ConfigurationError: as for `publish`.

        """
        batch = publication_events(events)
        # Without a call: each publish pays for it.
        if OPENTELEMETRY in modules and needs_publish_span(batch):
            with publish_span(batch) as traced:
                return await self.publish_many(traced, transaction=transaction)
        # Within the transaction nothing is pushed: its rollback must leave no trace.
        if transaction is not None:
            return await self._write_now(batch, transaction)
        self._check(batch)
        # The server's memory log is in this process: a call over the network would find another.
        server = local_server(self._prefix)
        if server is not None and server.broadcaster is not self:
            return await server.publish_many(batch)
        writer = self._writer
        receipts = await writer.append(batch) if writer else _receipts_without_position(batch)
        if self._mirror:
            self._mirror.put(batch, receipts)
        accepted = len(batch)
        for receipt in receipts:  # a loop: `sum` would cost each publish a tenth
            if receipt.refused:
                accepted -= 1
        if self._pusher and accepted:
            receipts = await self._pusher.push(batch, receipts)
        self.published += accepted
        return receipts

    async def _write_now(self, batch: Sequence[Event], transaction: object) -> list[Receipt]:
        if writing := self.write(batch, transaction):
            await writing
        return _receipts_without_position(batch)

    def write(self, batch: Sequence[Event], transaction: object) -> Awaitable[None] | None:
        """Write the events within the caller's transaction.

        Returns:
            The awaitable of the write, where the transaction's connection is async.

        Raises:
            InvalidEventError: as for `publish_many`.
            ConfigurationError: as for `publish`.

        """
        self._check(batch)
        if owned := next((event for event in batch if event.write), None):
            raise InvalidEventError(
                f"{owned.event} on {owned.channel} has an attempt or a fold, which the log checks "
                "at once: publish it without `transaction`"
            )
        if not isinstance(self.log, TransactionalLog):
            raise ConfigurationError(
                f"{self.log or 'No log'} takes no transaction: set REALTIME_LOG to a log in your "
                "database (postgres), or omit `transaction` and publish after the commit, which is "
                "publish_on_commit in Django"
            )
        return self.log.append_in_transaction(transaction, batch)

    def _check(self, batch: Sequence[Event]) -> None:
        check_batch(batch, self.limit_event_bytes, large_integers=self._large_integers)
        if self._undeclared:
            self._undeclared.check(batch)

    def is_on_server_loop(self) -> bool:
        """Return whether the running event loop is that of the server this publishes to."""
        server = local_server(self._prefix)
        return server is not None and asyncio._get_running_loop() is server.loop


def _log_writer(log: Log | None, timing: PublishTiming) -> "Log | LogWriter | None":
    # A log in this process cannot time out: it saves the cost of a timeout per publish.
    if log is None or log.in_process:
        return log
    from realtime_bridge.publishing.log_writer import LogWriter

    return LogWriter(log, timing)


def _receipts_without_position(batch: Iterable[Event]) -> list[Receipt]:
    return [Receipt(id=event.id) for event in batch]
