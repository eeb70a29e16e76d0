"""Writer of one stream: a task of the broadcaster that publishes what the state decides."""

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Coroutine, Sequence
from math import inf
from typing import Any, Literal, Protocol

from realtime_bridge.errors import InvalidEventError, PublishError, RealtimeError, StreamError
from realtime_bridge.jobs.outage import retry_delay
from realtime_bridge.model.event import Event
from realtime_bridge.model.fork import after_fork_in_child
from realtime_bridge.model.page import Page
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.protocol.streams.writer_state import StreamState
from realtime_bridge.publishing.lease_keeper import LeaseKeeper

FINISH_SECONDS = 30.0
"""Longest time after the end of a block for which its last items are published."""

_logger = logging.getLogger("realtime_bridge.publishing")


class StreamPublisher(Protocol):
    """Broadcaster, as its streams need it."""

    @property
    def leases(self) -> LeaseKeeper:
        """Keeper of the leases."""

    async def publish_many(self, events: Sequence[Event]) -> list[Receipt]:
        """Publish events in order; see `Broadcaster.publish_many`."""

    async def read_key(self, channel: str, key: str) -> Page:
        """Return the group of a key."""

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Start work that ends by itself, or with the broadcaster."""


class StreamWriter:
    """Writer of one stream; `add` and `check` may be called in any thread.

    Args:
        publisher: the broadcaster.
        state: the decisions.
        lease: lease of the stream's key.

    """

    def __init__(self, publisher: StreamPublisher, state: StreamState, lease: Lease) -> None:
        self.state: StreamState = state
        self._publisher = publisher
        self._lease = lease
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._wakes_at = 0.0
        """Time until which the task sleeps; 0 while it runs, and will look by itself."""
        self._deadline: float | None = None
        self._task: asyncio.Task[None] | None = None
        self.is_inherited: bool = False
        """True in a child that was forked after this writer was made: its parent publishes."""
        _instances.add(self)

    def _reset_after_fork(self) -> None:
        """Refuse items in this child: the task and the connections are those of the parent."""
        # A thread of the parent may hold the lock at the fork: no thread here would release it.
        self._lock = threading.Lock()
        self.is_inherited = True

    @property
    def has_begun(self) -> bool:
        """True from the begin on."""
        return self._task is not None

    async def begin(self) -> None:
        """Read what the log has of the stream, and start to publish.

        Raises:
            ConfigurationError: the log keeps no streams, or there is none.
            PublishError: the log did not answer.

        """
        self._check_process()
        self._loop = asyncio.get_running_loop()
        group = await self._publisher.read_key(self._lease.channel, self._lease.key)
        self.state.begin(group.events)
        self._task = self._publisher.spawn("stream", self._run())

    def add(self, item: bytes) -> None:
        """Add an item, as JSON; see `StreamState.add`.

        Raises:
            StreamError: the stream belongs to the parent of this process, or takes no more items.

        """
        self._check_process()
        with self._lock:
            self.state.add(item)
            at = self.state.wake_at()
            # The task sleeps through a pace: a wake-up for each item would cost more than the item.
            if at is None or at >= self._wakes_at:
                return
            self._wakes_at = at
        if asyncio._get_running_loop() is self._loop:
            self._wake.set()
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    def check(self) -> None:
        """Check that the stream may go on; see `add`."""
        self._check_process()
        self.state.check()

    def _check_process(self) -> None:
        if self.is_inherited:
            raise StreamError(
                f"Stream {self.state.stream} belongs to the parent of this process: "
                "call `stream` after the fork"
            )

    def items(self) -> list[bytes]:
        """Return the items that the log has accepted, as JSON."""
        with self._lock:
            return self.state.items

    async def finish(
        self, state: Literal["completed", "failed"], error: str | None, seconds: float
    ) -> None:
        """End the stream, and wait until it is published: at most so many seconds.

        The rest is published in the background, for `FINISH_SECONDS`. A forked child leaves the
        stream to its parent.
        """
        if self.is_inherited:
            return
        assert self._task
        with self._lock:
            self.state.end(state, error)
        self._deadline = time.monotonic() + FINISH_SECONDS
        self._wake.set()
        await asyncio.wait([self._task], timeout=seconds)

    async def _run(self) -> None:
        self._publisher.leases.add(self._lease, self._on_renewal)
        try:
            while not self.state.is_done:
                self._wake.clear()
                now = time.monotonic()
                with self._lock:
                    batch = self.state.next_batch(now)
                    self._wakes_at = until = 0.0 if batch else self.state.look_at(now)
                if batch:
                    await self._publish(batch)
                else:
                    await self._sleep(until - now)
        finally:
            self._publisher.leases.remove(self._lease)

    async def _sleep(self, seconds: float) -> None:
        """Sleep for so many seconds, or until something wakes the task."""
        if seconds == inf:
            await self._wake.wait()
            return
        # Not `wait_for`: before Python 3.12 it starts a task.
        timer = asyncio.get_running_loop().call_later(seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    async def _publish(self, batch: list[Event]) -> None:
        """Publish a batch until the log answers; its ids keep it from being appended twice."""
        failures = 0
        while True:
            try:
                receipts = await self._publisher.publish_many(batch)
            except InvalidEventError as error:  # its start has a larger `meta` than events may
                self._give_up(error)
                return
            except PublishError as error:
                if not error.retryable or self._is_late():
                    self._give_up(error)
                    return
                failures += 1
                _logger.info("stream delayed key=%s error=%r", self._lease.key, str(error))
                await asyncio.sleep(retry_delay(failures))
            else:
                with self._lock:
                    self.state.accept(receipts)
                return

    def _give_up(self, error: RealtimeError) -> None:
        _logger.warning("stream lost key=%s error=%r", self._lease.key, str(error))
        with self._lock:
            self.state.give_up()

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _on_renewal(self, renewal: Renewal) -> None:
        with self._lock:
            self.state.notice(renewal.refused)
        self._wake.set()


_instances: weakref.WeakSet[StreamWriter] = weakref.WeakSet()


def _reset_all_after_fork() -> None:
    for writer in _instances:
        writer._reset_after_fork()


after_fork_in_child(_reset_all_after_fork)
