"""Jobs and streams of a broadcaster."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from realtime_bridge.backend.log import Log
from realtime_bridge.backend.push import Backend
from realtime_bridge.model.event import Event
from realtime_bridge.model.ids import event_id
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.publishing.reports import Reports
from realtime_bridge.publishing.timing import PublishTiming

if TYPE_CHECKING:
    from realtime_bridge.jobs.async_job import AsyncJob
    from realtime_bridge.jobs.control import JobReply
    from realtime_bridge.protocol.streams.snapshot import StreamSnapshot
    from realtime_bridge.protocol.streams.writer_state import StreamFormat
    from realtime_bridge.publishing.job_control import JobControl
    from realtime_bridge.publishing.owned_keys import OwnedKeys
    from realtime_bridge.publishing.stream import AsyncStream
    from realtime_bridge.publishing.streams import Streams

JOB_LEASE = 30.0
"""Seconds of silence after which the log shows a job as lost."""


class JobsAndStreams:
    """Base of a broadcaster: its jobs, streams and leases; their code is loaded on use."""

    log: Log | None
    backend: Backend | None
    reports: Reports
    limit_event_bytes: int
    _prefix: str | None
    _timing: PublishTiming
    _owned_keys: "OwnedKeys | None" = None
    _streams: "Streams | None" = None

    @abstractmethod
    async def publish_many(self, events: Iterable[Event]) -> list[Receipt]:
        """Publish events in order."""

    @property
    def owned_keys(self) -> "OwnedKeys":
        """Keys of jobs and streams in the log."""
        if self._owned_keys is None:
            from realtime_bridge.publishing.owned_keys import OwnedKeys

            self._owned_keys = OwnedKeys(self, self._prefix, self._timing)
        return self._owned_keys

    @property
    def streams(self) -> "Streams":
        """Streams of this broadcaster."""
        if self._streams is None:
            from realtime_bridge.publishing.streams import Streams

            self._streams = Streams(self, self.owned_keys, self._timing)
        return self._streams

    @property
    def job_control(self) -> "JobControl":
        """Requests to jobs."""
        from realtime_bridge.publishing.job_control import JobControl

        return JobControl(self.owned_keys, self.publish_many)

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
        """Return a job that reports on the channel: `async with broadcaster.job(…) as job`.

        Args:
            channel: channel of the reports.
            id: id of the job; None creates one.
            title: name of the job for people.
            parent: id of the job on the same channel that this one is a part of.
            attempt: name of this run, where a queue has a name for it; random otherwise.
            cancellable: people may cancel it: an async block is cancelled; code that is not async
                raises at its next `progress`, `track` or `check`.
            lease: seconds of silence, 5 to 3 600, after which the job is shown as lost. A lost
                job that reports again is running again.

        Raises:
            InvalidEventError: the channel, the attempt or the lease is not valid.

        """
        from realtime_bridge.jobs.async_job import AsyncJob

        return AsyncJob(
            channel,
            self,
            id=id,
            title=title,
            parent=parent,
            attempt=attempt,
            cancellable=cancellable,
            lease=lease,
        )

    async def cancel_job(
        self,
        channel: str,
        id: str,  # noqa: A002 -- as in `publish`
        *,
        by: str | None = None,
        reason: str | None = None,
    ) -> "JobReply":
        """Request the end of a cancellable job, and of its children.

        Pages show the request at once. The worker gets it with its next report, 5 s later at
        most. A lost job is cancelled at once.

        Args:
            channel: channel of the job.
            id: id of the job.
            by: the user, for people.
            reason: text for people.

        Raises:
            InvalidEventError: the channel is not valid.
            ConfigurationError: the log keeps no jobs with owners, or there is none.
            PublishError: the log did not answer.

        """
        return (await self.job_control.cancel(channel, id, by=by, reason=reason)).reply

    async def answer_job(
        self,
        channel: str,
        id: str,  # noqa: A002 -- as in `publish`
        question: str,
        value: Any,
        *,
        by: str | None = None,
    ) -> "JobReply":
        """Answer the question of a job; the first answer wins.

        Args:
            channel: channel of the job.
            id: id of the job.
            question: id of the question.
            value: the answer, of up to 8 KiB of JSON.
            by: the user, for people.

        Raises:
            InvalidEventError: the channel or the answer is not valid.
            ConfigurationError: the log keeps no jobs with owners, or there is none.
            PublishError: the log did not answer.

        """
        return await self.job_control.answer(channel, id, question, value, by=by)

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
        """Return a stream of items: `async with broadcaster.stream(…) as stream`.

        Readers get every item once, in order, through reloads and changes of the provider. A
        stream that runs again, because its task is retried, begins again on every page.

        Args:
            channel: channel of the stream, best one per conversation.
            id: id of the stream; None creates one.
            format: form of the items: `text`, `json`, `ui-message` or `ag-ui`.
            meta: JSON value for readers.
            attempt: name of this run, where a queue has a name for it; random otherwise.
            pace: shortest time between two parts, in seconds; by default that of the backend.

        Raises:
            InvalidEventError: an argument is not valid.

        """
        from realtime_bridge.publishing.stream import AsyncStream

        options: Any = {"format": format, "meta": meta, "attempt": attempt, "pace": pace}
        return AsyncStream(self.streams.writer(channel, id or event_id(), **options))

    async def stop_stream(
        self,
        channel: str,
        id: str,  # noqa: A002 -- as in `publish`
        *,
        attempt: str | None = None,
        by: str | None = None,
    ) -> bool:
        """Stop a stream; pages show it at once, and the writer takes no further item.

        Args:
            channel: channel of the stream.
            id: id of the stream.
            attempt: the only run to stop; None stops the present one.
            by: who stops it, for readers.

        Returns:
            False if the stream had ended, another attempt writes it, or there is none.

        Raises:
            InvalidEventError: the channel or the id is not valid.
            ConfigurationError: the log keeps no streams, or there is none.
            PublishError: the log did not answer.

        """
        reply = await self.streams.stop(channel, id, attempt=attempt, by=by)
        return reply.outcome == "stopped"

    async def read_stream(self, channel: str, id: str) -> "StreamSnapshot | None":  # noqa: A002
        """Return the state and the items of a stream; None for an unknown one.

        Raises:
            InvalidEventError: the channel or the id is not valid.
            ConfigurationError: the log keeps no streams, or there is none.
            PublishError: the log did not answer.

        """
        return await self.streams.read(channel, id)

    async def _close_streams(self) -> None:
        streams, self._streams = self._streams, None
        if streams:
            await streams.close()

    async def _close_keys(self) -> None:
        keys, self._owned_keys = self._owned_keys, None
        if keys:
            await keys.close()
