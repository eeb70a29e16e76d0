"""Background work of a blocking broadcaster, which may be unable to connect yet."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from realtime_bridge.backend.native_threads import create_future, wait_for
from realtime_bridge.errors import RealtimeError
from realtime_bridge.jobs.outage import is_retryable, retry_delay
from realtime_bridge.publishing.reports import MAX_REPORTS, Reports
from realtime_bridge.publishing.timing import PublishTiming

if TYPE_CHECKING:
    from realtime_bridge.jobs.publisher import Publisher, Report

Submit = Callable[[Callable[[Any], Coroutine[Any, Any, None]]], Future[None]]
"""Runs a coroutine function with the broadcaster, on the broadcaster's thread."""

_logger = logging.getLogger("realtime_bridge.publishing")
_TIMING = PublishTiming()


class BlockingReports:
    """Starter of reports from any thread; they wait here while the broadcaster cannot connect.

    Args:
        submit: connects first where there is no connection yet.
        running: returns the reports of the connected broadcaster, if it is connected.

    """

    def __init__(self, submit: Submit, running: Callable[[], Reports | None]) -> None:
        self._submit = submit
        self._running = running
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Drop the reports of the parent, which starts them itself."""
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._waiting: deque[Report] = deque()
        self._failures = 0

    def start(self, report: "Report") -> None:
        """Start a report, now or when the broadcaster can connect.

        Raises:
            RealtimeError: the broadcaster can never connect.

        """
        with self._lock:
            # One attempt for all: else each caller would wait for a connection that fails.
            if self._waiting:
                self._add(report)
                return
        try:
            self._spawn(report)
        except RealtimeError as error:
            if not is_retryable(error):
                raise
            _logger.warning("job reports delayed error=%r", str(error))
            with self._lock:
                self._add(report)
                self._start_timer()

    def run(self, report: "Report") -> None:
        """Start a report, and wait for its end as long as a caller may wait.

        Raises:
            RealtimeError: the broadcaster can never connect.

        """
        done: Future[None] = create_future()

        async def run(publisher: "Publisher") -> None:
            try:
                await report(publisher)
            finally:
                done.set_result(None)

        self.start(run)
        if not wait_for(done, self.wait_seconds()):
            self.begin_outage()

    def wait_seconds(self) -> float:
        """Return the longest time that a caller may wait; 0 in an outage."""
        if self._waiting:
            return 0.0
        reports = self._running()
        return reports.wait_seconds() if reports else _TIMING.report_seconds

    def begin_outage(self) -> None:
        """Record that a wait was in vain."""
        if reports := self._running():
            reports.begin_outage()

    def close(self) -> None:
        """Start the reports that wait, or log them as lost after 5 s: the broadcaster closes."""
        deadline = time.monotonic() + _TIMING.close_seconds
        while not self._start_waiting():
            seconds = min(retry_delay(1), deadline - time.monotonic())
            if seconds <= 0:
                break
            time.sleep(seconds)
        with self._starting, self._lock:
            lost = len(self._waiting)
            self._waiting.clear()
        if lost:
            _logger.warning("job updates lost jobs=%d reason=%r", lost, "no connection")

    def _spawn(self, report: "Report") -> None:
        async def spawn(broadcaster: Any) -> None:
            broadcaster.reports.start(report)

        self._submit(spawn)

    def _add(self, report: "Report") -> None:
        if len(self._waiting) >= MAX_REPORTS:
            raise RuntimeError(f"{MAX_REPORTS:,} reports wait for a connection")
        self._waiting.append(report)

    def _start_timer(self) -> None:
        self._failures += 1
        timer = threading.Timer(retry_delay(self._failures), self._retry)
        timer.daemon = True  # a delayed report must not keep the process alive
        with suppress(RuntimeError):  # the interpreter ends, and `close` tries the last time
            timer.start()

    def _retry(self) -> None:
        if not self._start_waiting():
            with self._lock:
                self._start_timer()

    def _start_waiting(self) -> bool:
        """Start the reports that wait, in order; return False where it cannot connect yet."""
        # The timer and a close may come together: each report starts once.
        with self._starting:
            while self._waiting:
                try:
                    self._spawn(self._waiting[0])
                except RealtimeError as error:
                    _logger.info("job reports still delayed error=%r", str(error))
                    return False
                with self._lock:
                    self._waiting.popleft()
            self._failures = 0
            return True
