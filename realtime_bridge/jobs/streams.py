"""Streams of a job, as its code uses them; `publishing.stream` has their classes."""

from collections.abc import AsyncIterable, Iterable, Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, Self

StreamFormat = Literal["text", "json", "ui-message", "ag-ui"]
"""Form of a stream's items."""


class JobStream(Protocol):
    """Stream of items under the name of a run."""

    @property
    def id(self) -> str:
        """Id of the stream."""

    @property
    def attempt(self) -> str:
        """Name of the run."""

    @property
    def items(self) -> Sequence[Any]:
        """Items that the log has accepted, and so all that pages show."""

    @property
    def text(self) -> str:
        """Accepted items joined, for the format `text`."""

    def append(self, item: Any) -> None:
        """Add one item; it costs microseconds and waits for nothing.

        Raises:
            InvalidEventError: the item is not of the stream's format.
            StreamStoppedError, StreamSupersededError, StreamFullError: it takes no more items.

        """


class BlockingJobStream(JobStream, Protocol):
    """Stream of code that is not async: `with job.stream() as stream`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool: ...

    def write(self, source: Iterable[Any]) -> bool:
        """Append every item of a source; return False once the stream was stopped."""

    def close(self, error: BaseException | None = None) -> None:
        """End the stream, if it has begun."""


class AsyncJobStream(JobStream, Protocol):
    """Stream of async code: `async with job.stream() as stream`."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool: ...

    async def write(self, source: AsyncIterable[Any] | Iterable[Any]) -> bool:
        """Append every item of a source; return False once the stream was stopped."""

    async def close(self, error: BaseException | None = None) -> None:
        """End the stream, if it has begun."""
