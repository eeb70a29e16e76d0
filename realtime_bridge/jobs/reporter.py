"""Reporter of one job: publishes its updates in order, one at a time, until none is pending."""

import asyncio
import logging
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import orjson

from realtime_bridge.backend.native_threads import create_future, create_lock, wait_for
from realtime_bridge.jobs.pause import Pause
from realtime_bridge.jobs.publisher import Publisher, ReportRunner
from realtime_bridge.jobs.snapshot import fold_job_group
from realtime_bridge.jobs.state import JobState
from realtime_bridge.jobs.update import JobUpdate, job_key
from realtime_bridge.jobs.values import FAILURES
from realtime_bridge.model import ids
from realtime_bridge.model.fork import after_fork_in_child
from realtime_bridge.model.receipt import Lease, Receipt, Renewal

MAX_UNSENT_BYTES = 64 * 1024
"""Longest update for another process: such a message is written and read as a whole."""

_FIELDS = ("event", "data", "write")

_logger = logging.getLogger("realtime_bridge.jobs")


class JobReporter:
    """Reporter of one job's updates, for any thread; it never fails the work.

    Args:
        channel: channel of the reports.
        job: the job's id.
        state: the decisions.
        runner: runs the reports.

    Raises:
        InvalidEventError: the channel or the attempt is not valid.

    """

    def __init__(self, channel: str, job: str, state: JobState, runner: ReportRunner) -> None:
        self.state: JobState = state
        self.on_interruption: Callable[[], None] | None = None
        """Called in the broadcaster's loop once the run should stop."""
        self._job = job
        self._channel = channel
        self._lease = Lease(channel, job_key(job), state.attempt)
        self._runner = runner
        self._reset_for_process()
        # An event checks its channel: a mistake is raised here, before the work starts.
        state.start_event(channel)
        _instances.add(self)

    def _reset_for_process(self) -> None:
        """Create the lock and the report of this process; a parent sends its own updates.

        The run stays the same, and so does its lease: the parent renews that.
        """
        # Part of the updates' ids: a child must not reuse those of its parent.
        self._nonce = ids.nonce()
        self._lock = create_lock()
        self._is_reporting = False
        self._pause: Pause | None = None
        self._reported = _pending_future()
        self._news = _pending_future()
        self._noted = 0
        self._must_read = False
        self.state.discard_pending()

    def change(self, name: str, *, error: str | None = None, retry_at: int | None = None) -> None:
        """Enter a state, and report it."""
        with self._lock:
            self.state.change(name, _now_ms(), error=error, retry_at=retry_at)
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
            self.state.set_progress(fraction, message, stage, seconds_left)
            if self._is_reporting:
                return  # it publishes this one too, when its time has come
        self._start(at_once=False)

    def ask(self, question: dict[str, Any]) -> None:
        """Report a question."""
        with self._lock:
            self.state.ask(question, _now_ms())
        self._start()

    def resume(self) -> None:
        """Report that the job goes on without its question."""
        with self._lock:
            self.state.resume(_now_ms())
        self._start()

    def news(self) -> "Future[None]":
        """Return a future that is done when people, or another run, have changed the job."""
        with self._lock:
            return self._news

    def wait(self) -> bool:
        """Wait until all is reported, for as long as a caller may wait; return whether it is."""
        done = wait_for(self._reported, self._runner.wait_seconds())
        if not done:
            self._runner.begin_outage()
        return done

    async def wait_async(self) -> bool:
        """Do the same in an event loop."""
        reported = asyncio.wrap_future(self._reported)
        done, _ = await asyncio.wait({reported}, timeout=self._runner.wait_seconds())
        if not done:
            self._runner.begin_outage()
        return bool(done)

    def unsent(self) -> bytes | None:
        """Return the newest update that is not published, for `forward` in another process."""
        with self._lock:
            if (update := self.state.newest_pending()) is None:
                return None
        whole = self._dump(update)
        # JSON escapes may make it too long for a message between processes.
        return whole if len(whole) <= MAX_UNSENT_BYTES else self._dump(update.reduced())

    def _dump(self, update: JobUpdate) -> bytes:
        fields = {"channel": self._channel, "job": self._job, "nonce": self._nonce}
        return orjson.dumps(fields | {name: getattr(update, name) for name in _FIELDS})

    def forward(self, fields: dict[str, Any]) -> None:
        """Publish the newest update of another process, under the id that it has there."""
        with self._lock:
            self._nonce = fields["nonce"]
            self.state.adopt(JobUpdate(**{name: fields[name] for name in _FIELDS}))
        self._start()

    def _start(self, *, at_once: bool = True) -> None:
        # One report at a time: the running one publishes this update too, in order.
        with self._lock:
            if self._is_reporting:
                if at_once and self._pause:
                    self._pause.end()  # it waits for the time of the next progress
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
        pause = self._pause = Pause()
        try:
            while (seconds := self._next_wait()) is not None:
                await pause.wait(seconds)
                if self._must_read:
                    await self._read(publisher)
                else:
                    await self._publish_next(publisher)
        except BaseException:
            # The broadcaster closes: another one may publish what is left.
            with self._lock:
                self._stop()
            raise

    async def _publish_next(self, publisher: Publisher) -> None:
        """Publish the next update; it stays the next one after a failure that may pass."""
        with self._lock:
            update = self.state.next_update(time.monotonic(), _now_ms())
        if update is None:
            return
        try:
            event = update.to_event(self._channel, self._lease.key, self._nonce)
            receipts = await publisher.outage.attempt(lambda: publisher.publish_many([event]))
        except Exception as error:
            self._replace(update, error, publisher)
            return
        if receipts:
            self._accept(update, receipts[0], publisher)

    def _accept(self, update: JobUpdate, receipt: Receipt, publisher: Publisher) -> None:
        """Follow the log's answer to an update."""
        with self._lock:
            if receipt.refused is None:
                self.state.remove(update)
            else:
                self.state.refuse(update, receipt.refused)
            self._see(receipt.noted)
            is_over = self.state.refused is not None
            self._must_read |= is_over
        if publisher.leases is None:
            return
        if is_over or update.ends_lease:
            publisher.leases.remove(self._lease)
        elif receipt.refused is None and update.begins_lease:
            publisher.leases.add(self._lease, self._on_renewal)
        if receipt.refused is None:
            publisher.leases.hurry(self._lease, is_urgent=self.state.needs_renewals)
        if is_over:
            _logger.info("job reports no more job=%s reason=%s", self._job, receipt.refused)

    def _on_renewal(self, renewal: Renewal) -> None:
        """Follow the answer to a renewal of the lease, in the broadcaster's loop."""
        with self._lock:
            self._see(renewal.noted)
            self._must_read |= renewal.refused is None and self.state.renewed()
            match renewal.refused:
                case "lapsed" | "gone":
                    self.state.lapsed(_now_ms())
                case "superseded" | "ended":
                    self.state.refuse(None, renewal.refused)
                    self._must_read = True
            is_quiet = renewal.refused is None and not self._must_read
        if not is_quiet:
            self._start()

    def _see(self, noted: int) -> None:
        # Not "greater": the offsets of another epoch are smaller.
        if noted and noted != self._noted:
            self._noted, self._must_read = noted, True

    async def _read(self, publisher: Publisher) -> None:
        """Read what the log has of the job, and wake the code that waits for it."""
        self._must_read = False
        try:
            page = await publisher.outage.attempt(
                lambda: publisher.read_key(self._channel, self._lease.key)
            )
        except Exception as error:
            _logger.warning("job not read job=%s error=%r", self._job, str(error))
            return
        if page is None:
            self._must_read = True
            return
        snapshot = fold_job_group(page.events)
        with self._lock:
            if snapshot is not None:
                self.state.noted(snapshot, _now_ms())
            is_interrupted = self.state.interruption is not None
            news, self._news = self._news, _pending_future()
        news.set_result(None)
        if is_interrupted and self.on_interruption:
            self.on_interruption()

    def _replace(self, update: JobUpdate, error: Exception, publisher: Publisher) -> None:
        """Replace an update that was refused by a smaller one; the second refusal drops it."""
        with self._lock:
            is_replaced = self.state.reduce(update)
        if not is_replaced and update.ends_lease and publisher.leases:
            publisher.leases.remove(self._lease)  # renewed, it would be shown as running forever
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
            wait = 0.0 if self._must_read else self.state.seconds_until_due(time.monotonic())
            if wait is None:
                self._stop()
            return wait

    def _stop(self) -> None:
        self._is_reporting, self._pause = False, None
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
