"""Log lines of a job, as a stream beside it."""

import logging
import os
from collections import deque
from typing import Any

import orjson

from realtime_bridge.backend.native_threads import create_lock
from realtime_bridge.errors import RealtimeError, StreamError
from realtime_bridge.jobs.publisher import ItemWriter, Publisher, ReportRunner
from realtime_bridge.jobs.values import FAILURES
from realtime_bridge.model.names import MAX_LABEL

PACE = 0.5
"""Shortest time between two parts, in seconds."""

MAX_BYTES = 1000 * 1024
"""Bytes of JSON at which the stream begins again; a log keeps 1 MiB."""

KEPT_BYTES = 64 * 1024
"""Bytes of the last lines with which it begins again."""

MAX_WAITING = 10_000
"""Lines that wait for a log that does not answer; beyond it the oldest is dropped."""

_END = b""
_FINISH_SECONDS = 5.0
_MAX_ID = MAX_LABEL - len("stream-")

_logger = logging.getLogger("realtime_bridge.jobs")


class LogLines:
    """Lines of one run, for any thread; a stream that is full begins again with its last lines.

    Args:
        channel: channel of the job.
        job: id of the job.
        attempt: name of the run.
        runner: runs the work in the background.

    """

    def __init__(self, channel: str, job: str, attempt: str, runner: ReportRunner) -> None:
        self._channel = channel
        self._stream = f"log-{job}"[:_MAX_ID]
        self._attempt = attempt
        self._runner = runner
        self._process = os.getpid()
        self._lock = create_lock()
        self._waiting: deque[bytes] = deque()
        """Lines, as JSON, that are not in the stream yet."""
        self._count = 0
        """Number of lines that were in the stream, or were dropped before."""
        self._recent: deque[bytes] = deque()
        self._recent_bytes = 0
        self._size = 0
        """Bytes of the stream."""
        self._writer: ItemWriter | None = None
        self._is_running = False
        self._is_over = False

    def add(self, line: str) -> None:
        """Add a line; it waits for nothing."""
        if self._process != os.getpid():
            return  # the stream belongs to the parent, whose lines those of a child would replace
        with self._lock:
            if self._is_over:
                return
            if len(self._waiting) == MAX_WAITING:
                self._waiting.popleft()
                self._count += 1
            # A copy: the buffer of orjson occupies kilobytes.
            self._waiting.append(b"%b" % orjson.dumps(line + "\n"))
        self._start()

    def close(self) -> None:
        """End the stream after the lines so far."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._is_over = True
        self._start()

    def _start(self) -> None:
        with self._lock:
            if self._is_running:
                return
            self._is_running = True
        try:
            self._runner.start(self._write)
        except FAILURES as error:
            self._give_up(error)

    async def _write(self, publisher: Publisher) -> None:
        try:
            while (item := self._next()) is not None:
                if item is _END:
                    if self._writer:
                        await self._writer.finish("completed", None, _FINISH_SECONDS)
                    return
                if self._writer is None or self._size + len(item) >= MAX_BYTES:
                    await self._begin(publisher)
                self._put(item)
                self._keep(item)
        except StreamError:
            self._give_up(None)  # people stopped the stream, or another run writes it
        except RealtimeError as error:
            self._give_up(error)

    def _next(self) -> bytes | None:
        """Return the next line, the end, or None where a later line starts the work again."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._is_over:
                return _END  # still running: no other thread ends the stream a second time
            self._is_running = False
            return None

    async def _begin(self, publisher: Publisher) -> None:
        """Begin the stream, or where it is full, begin it again with its last lines."""
        if self._writer:
            await self._writer.finish("completed", None, _FINISH_SECONDS)
        meta: dict[str, Any] = {"dropped": self._count - len(self._recent)}
        writer = publisher.item_writer(
            self._channel, self._stream, meta=meta, attempt=self._attempt, pace=PACE
        )

        async def begin() -> ItemWriter:
            await writer.begin()
            return writer

        while (begun := await publisher.outage.attempt(begin)) is None:
            pass
        self._writer, self._size = begun, 0
        for item in self._recent:
            self._put(item)

    def _put(self, item: bytes) -> None:
        assert self._writer
        self._writer.add(item)
        self._size += len(item) + 1

    def _keep(self, item: bytes) -> None:
        self._count += 1
        self._recent.append(item)
        self._recent_bytes += len(item)
        while self._recent_bytes > KEPT_BYTES:
            self._recent_bytes -= len(self._recent.popleft())

    def _give_up(self, error: BaseException | None) -> None:
        with self._lock:
            self._is_running, self._is_over = False, True
            self._waiting.clear()
        if error:
            _logger.warning("job has no log lines stream=%s error=%r", self._stream, str(error))
