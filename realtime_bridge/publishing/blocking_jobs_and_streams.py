"""Jobs and streams of a blocking broadcaster."""

from abc import abstractmethod
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from realtime_bridge.model.ids import event_id
from realtime_bridge.publishing.blocking_reports import BlockingReports
from realtime_bridge.publishing.broadcaster import Broadcaster
from realtime_bridge.publishing.jobs_and_streams import JOB_LEASE

if TYPE_CHECKING:
    from realtime_bridge.jobs.blocking_job import BlockingJob
    from realtime_bridge.jobs.control import JobReply
    from realtime_bridge.protocol.streams.snapshot import StreamSnapshot
    from realtime_bridge.protocol.streams.writer_state import StreamFormat
    from realtime_bridge.publishing.stream import BlockingStream
    from realtime_bridge.publishing.stream_writer import StreamWriter

T = TypeVar("T")


class BlockingJobsAndStreams:
    """Base of a blocking broadcaster: its jobs and its streams; their code is loaded on use."""

    reports: BlockingReports

    @abstractmethod
    def _submit(self, work: Callable[[Broadcaster], Coroutine[Any, Any, T]]) -> Future[T]:
        """Start work on the broadcaster's thread."""

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
    ) -> "BlockingJob":
        """Return a job that reports on the channel: `with broadcaster.job(…) as job`.

        Arguments and errors are those of `Broadcaster.job`.
        """
        from realtime_bridge.jobs.blocking_job import BlockingJob

        return BlockingJob(
            channel,
            self,
            id=id,
            title=title,
            parent=parent,
            attempt=attempt,
            cancellable=cancellable,
            lease=lease,
        )

    def cancel_job(
        self,
        channel: str,
        id: str,  # noqa: A002 -- as in `publish`
        *,
        by: str | None = None,
        reason: str | None = None,
    ) -> "JobReply":
        """Request the end of a job; see `Broadcaster.cancel_job`."""
        return self._submit(
            lambda broadcaster: broadcaster.cancel_job(channel, id, by=by, reason=reason)
        ).result()

    def answer_job(
        self,
        channel: str,
        id: str,  # noqa: A002 -- as in `publish`
        question: str,
        value: Any,
        *,
        by: str | None = None,
    ) -> "JobReply":
        """Answer the question of a job; see `Broadcaster.answer_job`."""
        return self._submit(
            lambda broadcaster: broadcaster.answer_job(channel, id, question, value, by=by)
        ).result()

    def stream(
        self,
        channel: str,
        *,
        id: str | None = None,  # noqa: A002 -- as in `publish`
        format: "StreamFormat" = "text",  # noqa: A002 -- the field's name on the wire
        meta: Any = None,
        attempt: str | None = None,
        pace: float | None = None,
    ) -> "BlockingStream":
        """Return a stream of items: `with broadcaster.stream(…) as stream`.

        Arguments and errors are those of `Broadcaster.stream`. It connects, if need be.
        """
        from realtime_bridge.publishing.stream import BlockingStream

        options: Any = {"format": format, "meta": meta, "attempt": attempt, "pace": pace}

        async def create(broadcaster: Broadcaster) -> "StreamWriter":
            return broadcaster.streams.writer(channel, id or event_id(), **options)

        writer = self._submit(create).result()
        return BlockingStream(writer, lambda work: self._submit(lambda _: work()))

    def stop_stream(
        self,
        channel: str,
        id: str,  # noqa: A002 -- as in `publish`
        *,
        attempt: str | None = None,
        by: str | None = None,
    ) -> bool:
        """Stop a stream; see `Broadcaster.stop_stream`."""
        return self._submit(
            lambda broadcaster: broadcaster.stop_stream(channel, id, attempt=attempt, by=by)
        ).result()

    def read_stream(self, channel: str, id: str) -> "StreamSnapshot | None":  # noqa: A002
        """Return the state and the items of a stream; see `Broadcaster.read_stream`."""
        return self._submit(lambda broadcaster: broadcaster.read_stream(channel, id)).result()
