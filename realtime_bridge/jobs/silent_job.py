"""Job that reports nothing, and its streams."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from realtime_bridge.errors import AnswerTimeoutError
from realtime_bridge.jobs.blocking_job import BlockingJob
from realtime_bridge.jobs.job import ANSWER_SECONDS
from realtime_bridge.jobs.streams import BlockingJobStream, StreamFormat
from realtime_bridge.model import ids

T = TypeVar("T")


class SilentStream:
    """Stream that publishes nothing; code after its block finds the items, as in any other."""

    def __init__(self, stream: str | None, attempt: str) -> None:
        self.id: str = stream or ids.event_id()
        self.attempt: str = attempt
        self.items: list[Any] = []

    @property
    def text(self) -> str:
        """Items joined, those that are texts."""
        return "".join(item for item in self.items if isinstance(item, str))

    def append(self, item: Any) -> None:
        """Keep one item."""
        self.items.append(item)

    def write(self, source: Iterable[Any]) -> bool:
        """Keep every item of a source."""
        self.items.extend(source)
        return True

    def close(self, error: BaseException | None = None) -> None:
        """Publish no end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        return False


class SilentJob(BlockingJob):
    """Job that reports nothing, for code that runs with and without a queue."""

    def __init__(self) -> None:
        self.id: str = ids.event_id()
        self._attempt = ids.nonce()

    @property
    def attempt(self) -> str:
        """Name of this run."""
        return self._attempt

    @property
    def cancelling(self) -> bool:
        """False: no one can cancel this job."""
        return False

    def check(self) -> None:
        """Check nothing."""

    def progress(
        self, fraction: float | None = None, message: str | None = None, *, stage: str | None = None
    ) -> None:
        """Report nothing."""

    def set_result(self, value: Any) -> None:
        """Keep nothing."""

    def log(self, line: str) -> None:
        """Publish nothing."""

    def ask(
        self,
        question: str,  # noqa: ARG002 -- as in the base
        *,
        id: str | None = None,  # noqa: A002, ARG002 -- as in the base
        choices: Sequence[str] | None = None,  # noqa: ARG002 -- as in the base
        timeout: float = ANSWER_SECONDS,  # noqa: ARG002 -- as in the base
    ) -> Any:
        """Raise AnswerTimeoutError: no one sees the question."""
        raise AnswerTimeoutError("No one watches this job: call `ask` in a job with a channel")

    async def ask_async(
        self,
        question: str,
        *,
        id: str | None = None,  # noqa: A002, ARG002 -- as in the base
        choices: Sequence[str] | None = None,  # noqa: ARG002 -- as in the base
        timeout: float = ANSWER_SECONDS,  # noqa: ARG002, ASYNC109 -- as in the base
    ) -> Any:
        """Raise AnswerTimeoutError: no one sees the question."""
        return self.ask(question)

    def stream(
        self,
        *,
        id: str | None = None,  # noqa: A002 -- as in the base
        format: StreamFormat = "text",  # noqa: A002, ARG002 -- as in the base
        meta: Any = None,  # noqa: ARG002 -- as in the base
    ) -> BlockingJobStream:
        """Return a stream that publishes nothing."""
        return SilentStream(id, self.attempt)

    def child(self, *, id: str | None = None, title: str | None = None) -> BlockingJob:  # noqa: A002, ARG002
        """Return another job that reports nothing."""
        return SilentJob()

    def report(self, state: str, *, error: object = None, retry_at: float | None = None) -> bool:  # noqa: ARG002 -- as in the base
        """Report nothing; nothing is left to publish."""
        return True

    async def report_async(
        self,
        state: str,  # noqa: ARG002 -- as in the base
        *,
        error: object = None,  # noqa: ARG002 -- as in the base
        retry_at: float | None = None,  # noqa: ARG002 -- as in the base
    ) -> bool:
        """Report nothing; nothing is left to publish."""
        return True

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of async work."""
        return await work()

    def unsent(self) -> bytes | None:
        """Return None: no update waits."""
        return None

    def forward(self, fields: dict[str, Any]) -> None:
        """Publish nothing."""

    def track(self, items: Iterable[T], *, total: int | None = None) -> Iterator[T]:  # noqa: ARG002 -- as in the base
        """Yield the items."""
        yield from items

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return
