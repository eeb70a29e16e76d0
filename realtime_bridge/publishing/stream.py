"""Streams as applications write them: async, and blocking."""

import asyncio
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

import orjson
from msgspec import json

from realtime_bridge.errors import InvalidEventError, StreamStoppedError
from realtime_bridge.protocol.streams.writer_state import WriterState
from realtime_bridge.publishing.stream_writer import StreamWriter

CLOSE_SECONDS = 5.0
"""Longest wait at the end of a block, until the last items are published."""


_OBJECTS = ("ui-message", "ag-ui")
"""Formats whose items are objects: their clients refuse a whole answer for another item."""

_json_text = json.Encoder().encode

Submit = Callable[[Callable[[], Coroutine[Any, Any, None]]], Future[None]]
"""Runs a coroutine function on the broadcaster's thread."""


class _Stream:
    """Base of both kinds of stream."""

    def __init__(self, writer: StreamWriter) -> None:
        self._writer = writer
        self._format = writer.state.format

    @property
    def id(self) -> str:
        """Id of the stream."""
        return self._writer.state.stream

    @property
    def attempt(self) -> str:
        """Name of this run."""
        return self._writer.state.attempt

    @property
    def state(self) -> WriterState:
        """State of the stream: open, completed, failed or stopped."""
        return self._writer.state.state

    @property
    def items(self) -> Sequence[Any]:
        """Items that the log has accepted, and so all that pages show."""
        items: list[Any] = orjson.loads(b"[%b]" % b",".join(self._writer.items()))
        return items

    @property
    def text(self) -> str:
        """Accepted items joined, for the format `text`."""
        return "".join(item for item in self.items if isinstance(item, str))

    def append(self, item: Any) -> None:
        """Add one item; it costs microseconds and waits for nothing.

        Args:
            item: a JSON value, or a pydantic model; a text in the format `text`, and an object in
                the formats `ui-message` and `ag-ui`.

        Raises:
            InvalidEventError: the item is not JSON, not of the stream's format, or too large.
            StreamStoppedError: the stream was stopped, or has ended.
            StreamSupersededError: another attempt took the stream over.
            StreamError: this process was forked after the stream was made.
            StreamFullError: the stream has 1 MiB, or as much waits for a log that is down.

        """
        if self._format == "text":
            self._writer.add(_encode_text(item))
            return
        try:
            encoded = orjson.dumps(item, default=_dump, option=orjson.OPT_STRICT_INTEGER)
        except TypeError as error:
            raise InvalidEventError(f"The item is not JSON: {error}") from error
        if self._format in _OBJECTS and not encoded.startswith(b"{"):
            raise InvalidEventError(
                f"A stream of {self._format} takes objects, not {type(item).__name__}: "
                "use format='json'"
            )
        self._writer.add(b"%b" % encoded)  # a copy: the buffer of orjson occupies kilobytes

    def _is_outcome(self, error: BaseException | None) -> bool:
        """Return whether an exception is the stop of this stream, and so no failure."""
        return isinstance(error, StreamStoppedError) and self.state == "stopped"


class AsyncStream(_Stream):
    """Stream of async code; see `Broadcaster.stream`."""

    async def __aenter__(self) -> Self:
        await self._writer.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        await _finish(self._writer, error)
        return self._is_outcome(error)

    async def close(self, error: BaseException | None = None) -> None:
        """End the stream, if it has begun; with an error, as failed."""
        if self._writer.has_begun:
            await _finish(self._writer, error)

    async def write(self, source: AsyncIterable[Any] | Iterable[Any]) -> bool:
        """Append every item of a source.

        Returns:
            False if the stream was stopped; the source is not read further.

        """
        try:
            self._writer.check()
            if isinstance(source, AsyncIterable):
                async for item in source:
                    self.append(item)
            else:
                for item in source:
                    self.append(item)
                    await asyncio.sleep(0)  # an iterator waits for nothing: let parts be published
        except StreamStoppedError:
            return False
        return True


class BlockingStream(_Stream):
    """Stream of code that is not async; see `BlockingBroadcaster.stream`. Any thread may append."""

    def __init__(self, writer: StreamWriter, submit: Submit) -> None:
        super().__init__(writer)
        self._submit = submit

    def __enter__(self) -> Self:
        self._submit(self._writer.begin).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self.close(error)
        return self._is_outcome(error)

    def close(self, error: BaseException | None = None) -> None:
        """End the stream, if it has begun; with an error, as failed."""
        # A forked child leaves the stream to its parent, and starts no thread for it.
        if self._writer.has_begun and not self._writer.is_inherited:
            self._submit(lambda: _finish(self._writer, error)).result()

    def write(self, source: Iterable[Any]) -> bool:
        """Append every item of a source; see `AsyncStream.write`."""
        try:
            self._writer.check()
            for item in source:
                self.append(item)
        except StreamStoppedError:
            return False
        return True


async def _finish(writer: StreamWriter, error: BaseException | None) -> None:
    if error is None:
        await writer.finish("completed", None, CLOSE_SECONDS)
    else:
        text = str(error) or type(error).__name__
        await writer.finish("failed", text[:1_000], CLOSE_SECONDS)


def _encode_text(item: Any) -> bytes:
    """Return a text as JSON, in a buffer of its own size: the writer keeps all items."""
    if type(item) is not str:
        raise InvalidEventError(
            f"A text stream takes text, not {type(item).__name__}: use format='json'"
        )
    try:
        return _json_text(item)
    except UnicodeEncodeError as error:
        raise InvalidEventError(f"The item is not JSON: {error}") from error


def _dump(value: Any) -> Any:
    """Return a pydantic model as JSON values, by alias and without None."""
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"Type is not JSON serializable: {type(value).__name__}")
    return dump(mode="json", by_alias=True, exclude_none=True)
