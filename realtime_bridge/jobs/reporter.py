"""Reporter of one job: publishes its updates in order, one at a time, until none is pending."""

import asyncio
import logging
import time
import weakref
from concurrent.futures import Future
from functools import partial
from typing import Any

import orjson

from realtime_bridge.backend.native_threads import create_future, create_lock, wait_for
from realtime_bridge.jobs.publisher import Publisher, ReportRunner
from realtime_bridge.jobs.state import JobState, JobUpdate
from realtime_bridge.jobs.values import FAILURES
from realtime_bridge.model.event import Event
from realtime_bridge.model.fork import after_fork_in_child
from realtime_bridge.model.ids import event_id

MAX_UNSENT_BYTES = 64 * 1024
"""Longest update for another process: such a message is written and read as a whole."""

_logger = logging.getLogger("realtime_bridge.jobs")


class JobReporter:
    """Reporter of one job's updates, for any thread; it never fails the work.

    Args:
        channel: channel of the reports.
        job: the job's id.
        title: name of the job for people.
        runner: runs the reports.

    Raises:
        InvalidEventError: the channel is not valid.

    """

    def __init__(self, channel: str, job: str, title: str, runner: ReportRunner) -> None:
        self._job = job
        self._channel = channel
        self._key = f"job-{job}"
        self._state = JobState(job, title=title)
        self._runner = runner
        self._reset_for_process()
        # An event checks its channel: a mistake is raised here, before the work starts.
        Event(channel=channel, event="job.started", data=None, key=self._key)
        _instances.add(self)

    def _reset_for_process(self) -> None:
        """Create the lock and the report of this process; a parent sends its own updates."""
        # Part of the updates' ids: a child must not reuse those of its parent.
        self._attempt = event_id()
        self._lock = create_lock()
        self._is_reporting = False
        self._reported = _pending_future()
        self._state.discard_pending()

    def change(self, name: str, *, error: str | None = None, retry_at: int | None = None) -> None:
        """Enter a state, and report it."""
        with self._lock:
            self._state.change(name, _now_ms(), error=error, retry_at=retry_at)
        self._start()

    def set_progress(
        self,
        fraction: float | None = None,
        message: str | None = None,
        stage: str | None = None,
        seconds_left: float | None = None,
    ) -> None:
        """Set the progress, and report it."""
        with self._lock:
            self._state.set_progress(fraction, message, stage, seconds_left)
        self._start()

    def wait(self) -> bool:
        """Wait until all is reported, for as long as a caller may wait; return whether it is."""
        done = wait_for(self._reported, self._runner.wait_seconds())
        if not done:
            self._runner.begin_outage()
        return done

    async def wait_async(self) -> None:
        """Do the same in an event loop."""
        reported = asyncio.wrap_future(self._reported)
        done, _ = await asyncio.wait({reported}, timeout=self._runner.wait_seconds())
        if not done:
            self._runner.begin_outage()

    def unsent(self) -> bytes | None:
        """Return the newest update that is not published, for `forward` in another process."""
        with self._lock:
            update = self._state.newest_pending()
        if update is None:
            return None
        fields = {"channel": self._channel, "job": self._job, "attempt": self._attempt}
        whole = orjson.dumps({**fields, "event": update.event, "data": update.data})
        # JSON escapes may make it too long for a message between processes.
        if len(whole) <= MAX_UNSENT_BYTES:
            return whole
        return orjson.dumps({**fields, "event": update.event, "data": update.reduced().data})

    def forward(self, fields: dict[str, Any]) -> None:
        """Publish the newest update of another process, under the id that it has there."""
        with self._lock:
            self._attempt = fields["attempt"]
            self._state.adopt(JobUpdate(event=fields["event"], data=fields["data"]))
        self._start()

    def _start(self) -> None:
        # One report at a time: the running one publishes this update too, in order.
        with self._lock:
            if self._is_reporting:
                return
            self._is_reporting = True
            self._reported = _pending_future()
        try:
            self._runner.start(self._report)
        except BaseException as error:
            with self._lock:
                self._stop()
            if not isinstance(error, FAILURES):
                raise
            # A failure of the report must not fail the work.
            _logger.warning("job reports nothing job=%s error=%r", self._job, str(error))

    async def _report(self, publisher: Publisher) -> None:
        try:
            while (seconds := self._next_wait()) is not None:
                await asyncio.sleep(seconds)
                await self._publish_next(publisher)
        except BaseException:
            # The broadcaster closes: another one may publish what is left.
            with self._lock:
                self._stop()
            raise

    async def _publish_next(self, publisher: Publisher) -> None:
        """Publish the next update; it stays the next one after a failure that may pass."""
        with self._lock:
            update = self._state.next_update(time.monotonic(), _now_ms())
        if update is None:
            return
        send = partial(self._send, publisher, update)
        has_key = partial(publisher.has_key, self._channel, self._key)
        # The worker may have been faster: a late `queued` would replace its state in the log.
        is_superseded = has_key if update.event == "job.queued" else None
        try:
            is_sent = await publisher.outage.attempt(send, is_superseded)
        except Exception as error:
            self._replace(update, error)
            return
        if is_sent:
            with self._lock:
                self._state.remove(update)

    async def _send(self, publisher: Publisher, update: JobUpdate) -> None:
        # Attempts to publish one update share its id: the log stores the first and drops others.
        update_id = f"{self._attempt}-{update.data['version']}"
        await publisher.publish(
            self._channel, update.event, update.data, id=update_id, key=self._key
        )

    def _replace(self, update: JobUpdate, error: Exception) -> None:
        """Replace an update that was refused by a smaller one; the second refusal drops it."""
        with self._lock:
            is_replaced = self._state.reduce(update)
        _logger.warning(
            "job update %s job=%s event=%s error=%r",
            "shortened" if is_replaced else "lost",
            self._job,
            update.event,
            str(error),
        )

    def _next_wait(self) -> float | None:
        # One lock for both: else an update between them would start no report.
        with self._lock:
            wait = self._state.seconds_until_due(time.monotonic())
            if wait is None:
                self._stop()
            return wait

    def _stop(self) -> None:
        self._is_reporting = False
        if not self._reported.done():
            self._reported.set_result(None)


def _pending_future() -> Future[None]:
    future: Future[None] = create_future()
    # So a waiting task that is cancelled does not cancel the future of all.
    future.set_running_or_notify_cancel()
    return future


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


_instances: weakref.WeakSet[JobReporter] = weakref.WeakSet()


def _reset_all_for_process() -> None:
    for reporter in _instances:
        reporter._reset_for_process()


after_fork_in_child(_reset_all_for_process)
