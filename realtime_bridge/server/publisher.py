"""Publishing from the server's process."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, overload

from msgspec.structs import replace

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.model.declaration import Publication, publication_events, published_event
from realtime_bridge.model.event import Event, create_event
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.publishing.batch_checks import owned_key
from realtime_bridge.publishing.jobs_and_streams import JOB_LEASE
from realtime_bridge.publishing.undeclared import UndeclaredEvents
from realtime_bridge.server.context import ServerContext
from realtime_bridge.server.jobs import ServerJobs
from realtime_bridge.server.lifecycle.lazy_start import LazyStart
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline

if TYPE_CHECKING:
    from pydantic import BaseModel

    from realtime_bridge.jobs.async_job import AsyncJob
    from realtime_bridge.jobs.control import JobReply
    from realtime_bridge.protocol.streams.snapshot import StreamSnapshot
    from realtime_bridge.protocol.streams.writer_state import StreamFormat
    from realtime_bridge.publishing.stream import AsyncStream


class ServerPublisher:
    """Base of the bridge: its methods publish to the server's log, and read from it."""

    _pipeline: ServerPipeline
    _context: ServerContext
    _lazy_start: LazyStart | None
    _has_own_log: bool
    _jobs: ServerJobs
    _undeclared: UndeclaredEvents | None

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
        """Publish one event from the server's process; see `Broadcaster.publish`."""
        published: Event = (
            create_event(channel, event, data, id, key, source)  # type: ignore[arg-type]
            if type(channel) is str
            else published_event(channel, event, data, id=id, key=key, source=source)
        )
        receipt = None
        # Without a call: each publish pays for it. `publish_many` does what is left out here.
        if (
            transaction is None
            and self._undeclared is None
            and self._lazy_start is None
            and self._context.status.is_started
        ):
            receipt = self._pipeline.broadcaster.publish_now(published)
        if receipt is None:
            (receipt,) = await self.publish_many([published], transaction=transaction)
        if receipt.refused:
            raise owned_key(published)
        return receipt

    async def publish_many(
        self, events: Iterable[Publication], *, transaction: object = None
    ) -> list[Receipt]:
        """Publish up to 500 events in order; see `Broadcaster.publish_many`."""
        # Here, and not in the broadcaster: workers' events pass through that one too.
        if self._undeclared:
            events = publication_events(events)
            self._undeclared.check(events)
        if self._lazy_start:  # without a call: it is None in most servers
            await self._lazy_start.prepare()
        receipts = await self._pipeline.broadcaster.publish_many(events, transaction=transaction)
        if self._has_own_log and not self._context.status.is_started:
            # The log has the events, and no server delivers from it yet.
            return [replace(receipt, pushed=False) for receipt in receipts]
        return receipts

    def job(
        self,
        channel: str,
        *,
        id: str | None = None,  # noqa: A002 -- as in `publish`
        title: str | None = None,
        parent: str | None = None,
        attempt: str | None = None,
        cancellable: bool = False,
        lease: float = JOB_LEASE,
    ) -> "AsyncJob":
        """Return a job that runs in the server's process; see `Broadcaster.job`.

        Raises:
            InvalidEventError: the channel, the attempt or the lease is not valid.

        """
        options: Any = {"attempt": attempt, "cancellable": cancellable, "lease": lease}
        broadcaster = self._pipeline.broadcaster
        return broadcaster.job(channel, id=id, title=title, parent=parent, **options)

    async def cancel_job(
        self,
        channel: str,
        id: str,  # noqa: A002 -- as in `publish`
        *,
        by: str | None = None,
        reason: str | None = None,
    ) -> "JobReply":
        """Request the end of a job, and call the hooks; see `Broadcaster.cancel_job`."""
        await self._prepare()
        return await self._jobs.cancel(channel, id, by=by, reason=reason)

    async def answer_job(
        self,
        channel: str,
        id: str,  # noqa: A002 -- as in `publish`
        question: str,
        value: Any,
        *,
        by: str | None = None,
    ) -> "JobReply":
        """Answer the question of a job; see `Broadcaster.answer_job`."""
        await self._prepare()
        return await self._jobs.answer(channel, id, question, value, by=by)

    def stream(
        self,
        channel: str,
        *,
        id: str | None = None,  # noqa: A002 -- as in `publish`
        format: "StreamFormat" = "text",  # noqa: A002 -- the field's name on the wire
        meta: Any = None,
        attempt: str | None = None,
        pace: float | None = None,
    ) -> "AsyncStream":
        """Return a stream of items from the server's process; see `Broadcaster.stream`.

        Raises:
            InvalidEventError: an argument is not valid.

        """
        options: Any = {"format": format, "meta": meta, "attempt": attempt, "pace": pace}
        return self._pipeline.broadcaster.stream(channel, id=id, **options)

    async def stop_stream(
        self,
        channel: str,
        id: str,  # noqa: A002 -- as in `publish`
        *,
        attempt: str | None = None,
        by: str | None = None,
    ) -> bool:
        """Stop a stream; see `Broadcaster.stop_stream`."""
        await self._prepare()
        return await self._pipeline.broadcaster.stop_stream(channel, id, attempt=attempt, by=by)

    async def read_stream(self, channel: str, id: str) -> "StreamSnapshot | None":  # noqa: A002
        """Return the state and the items of a stream; see `Broadcaster.read_stream`."""
        await self._prepare()
        return await self._pipeline.broadcaster.read_stream(channel, id)

    async def position(self, channel: str) -> Position:
        """Return the current position of a channel.

        Read the position first and your snapshot second. Send both, the position in the header
        `Realtime-Position: CHANNEL EPOCH:OFFSET`. The client then applies the later events alone,
        and misses none.

        Raises:
            PublishError: the log is unavailable.

        """
        log = self._pipeline.log
        return (await backend_call(log, log.positions, [channel]))[channel]

    async def _prepare(self) -> None:
        if self._lazy_start:
            await self._lazy_start.prepare()
