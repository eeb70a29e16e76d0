"""Blocking publisher: one event loop on one daemon thread of each process."""

import atexit
import inspect
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from sys import modules
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from realtime_bridge.backend.native_threads import wait_for
from realtime_bridge.errors import ConfigurationError, PublishError
from realtime_bridge.model.declaration import Publication, publication_events, published_event
from realtime_bridge.model.event import Event, create_event
from realtime_bridge.model.fork import after_fork_in_child
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.publishing.batch_checks import owned_key
from realtime_bridge.publishing.blocking_jobs_and_streams import BlockingJobsAndStreams
from realtime_bridge.publishing.blocking_reports import BlockingReports
from realtime_bridge.publishing.broadcaster import Broadcaster
from realtime_bridge.publishing.broadcaster_thread import BroadcasterThread
from realtime_bridge.publishing.reports import Reports, publish_batch
from realtime_bridge.tracing import OPENTELEMETRY, needs_publish_span, publish_span

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T")


class BlockingBroadcaster(BlockingJobsAndStreams):
    """Publisher for Celery, RQ, Django or a script; safe from many threads and after `fork`.

    It connects on first use, so it may be created at module level. A forked child starts its own
    thread and connections on its own first use. `with` closes it early; otherwise the end of the
    process does.

    Args:
        create: returns the async broadcaster; called once per process, on the first publish, and
            by `load`.

    """

    def __init__(self, create: Callable[[], Broadcaster]) -> None:
        self._create = create
        self.reports: BlockingReports = BlockingReports(self._submit, self._running_reports)
        self._lock = threading.RLock()
        self._loop_thread: BroadcasterThread | None = None
        self._writer: Broadcaster | None = None
        self._inherited: tuple[BroadcasterThread | None, ...] = ()
        _instances.add(self)

    @classmethod
    def from_env(cls, *, check: bool = False) -> Self:
        """Return the broadcaster that the `REALTIME_*` variables describe.

        The first publish reads the variables, so that importing a module stays fast. A mistake
        in them is raised there.

        Args:
            check: read the variables now.

        Raises:
            ConfigurationError: with `check`, the configuration cannot work.

        """
        if not check:
            return cls(Broadcaster.from_env)
        from realtime_bridge.backend.environment import load_settings

        settings = load_settings()
        Broadcaster.from_settings(settings)
        return cls(lambda: Broadcaster.from_settings(settings))

    def load(self) -> None:
        """Load the modules that the first publish needs, without a connection.

        The parent of forked workers calls it: each child would take a quarter of a second for it.
        A mistake in the configuration is raised by the first publish.
        """
        with suppress(Exception):
            self._create()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @overload
    def publish(
        self,
        channel: str,
        event: str,
        data: Any = None,
        *,
        id: str | None = None,
        key: str | None = None,
        source: str | None = None,
        transaction: object = None,
    ) -> Receipt: ...

    @overload
    def publish(
        self,
        channel: "BaseModel",
        /,
        *,
        id: str | None = None,
        source: str | None = None,
        transaction: object = None,
    ) -> Receipt: ...

    def publish(
        self,
        channel: "str | BaseModel",
        event: str | None = None,
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 -- the field's name on the wire
        key: str | None = None,
        source: str | None = None,
        transaction: object = None,
    ) -> Receipt:
        """Publish one event; arguments, result and errors are those of `Broadcaster.publish`.

        While the log is down, each call takes up to 5 s and then raises. A request that must not
        wait uses `publish_in_background`.
        """
        published: Event = (
            create_event(channel, event, data, id, key, source)  # type: ignore[arg-type]
            if type(channel) is str
            else published_event(channel, event, data, id=id, key=key, source=source)
        )
        (receipt,) = self.publish_many([published], transaction=transaction)
        if receipt.refused:
            raise owned_key(published)
        return receipt

    def publish_in_background(self, events: Iterable[Publication]) -> None:
        """Publish up to 500 events, and wait for the log at most 1 s; in an outage, not at all.

        It is for a request or a task that must not wait for a log that is down. The events are
        published as soon as the log answers, in order, or lost when the process ends before. A
        failure is logged.

        Raises:
            ConfigurationError: the configuration cannot work.
            PublishError: the broadcaster can never publish here.

        """
        self.reports.run(partial(publish_batch, publication_events(events)))

    def publish_many(
        self, events: Iterable[Publication], *, transaction: object = None
    ) -> list[Receipt]:
        """Publish up to 500 events; see `Broadcaster.publish_many`."""
        batch = publication_events(events)
        if transaction is not None:
            return self._write(batch, transaction)
        receipts = self._submit(lambda broadcaster: broadcaster.publish_many(batch))
        wait_for(receipts)
        return receipts.result()

    def _running_reports(self) -> Reports | None:
        loop_thread = self._loop_thread
        return loop_thread.broadcaster.reports if loop_thread else None

    def _submit(self, work: Callable[[Broadcaster], Coroutine[Any, Any, T]]) -> Future[T]:
        """Start work on the thread's loop; start the thread first where there is none."""
        # Under the lock: two first publishes must not start two threads. A handler of a signal may
        # publish while this thread holds it.
        with self._lock:
            loop_thread = self._loop_thread or self._start()
            _check_not_on_server_loop(loop_thread.broadcaster)
            return loop_thread.submit(work(loop_thread.broadcaster))

    def _write(self, batch: list[Event], transaction: object) -> list[Receipt]:
        """Write within the caller's transaction, in the caller's thread: it owns the connection."""
        if OPENTELEMETRY in modules and needs_publish_span(batch):
            with publish_span(batch) as traced:
                return self._write(traced, transaction)
        if self._writer is None:
            self._writer = self._create()
        writing = self._writer.write(batch, transaction)
        # An async connection returned a coroutine, which this thread has no loop for.
        if inspect.iscoroutine(writing):
            writing.close()
            raise ConfigurationError(
                "BlockingBroadcaster takes a transaction that is not async: use Broadcaster"
            )
        return [Receipt(id=event.id) for event in batch]

    def close(self) -> None:
        """Finish the publishes in progress, close the connections and end the thread.

        It waits at most 5 s for a publish, and 5 s for work in the background, such as the
        reports of jobs. A later publish starts a new thread.
        """
        self.reports.close()
        with self._lock:
            loop_thread, self._loop_thread = self._loop_thread, None
        if loop_thread:
            loop_thread.stop()

    def _start(self) -> BroadcasterThread:
        broadcaster = self._create()
        _check_not_on_server_loop(broadcaster)
        started = BroadcasterThread(broadcaster)
        if self._loop_thread is None:
            self._loop_thread = started
        else:
            started.stop()  # a signal handler published meanwhile
        return self._loop_thread

    def _reset_after_fork(self) -> None:
        """Drop the parent's thread: it does not run in this child, and its sockets are shared."""
        # A thread of the parent may hold the lock at the fork: no thread here would release it.
        self._lock = threading.RLock()
        # A reference keeps finalisers from closing the sockets of the parent.
        self._inherited += (self._loop_thread,)
        self._loop_thread = None
        self.reports.reset_after_fork()


def _check_not_on_server_loop(broadcaster: Broadcaster) -> None:
    if broadcaster.is_on_server_loop():
        raise PublishError(
            "BlockingBroadcaster was called on the event loop of the server itself, which "
            "would wait for itself: use `await bridge.publish(...)` there, or a thread"
        )


_instances: weakref.WeakSet[BlockingBroadcaster] = weakref.WeakSet()


def _reset_all_after_fork() -> None:
    for broadcaster in _instances:
        broadcaster._reset_after_fork()


def close_all() -> None:
    """Close every broadcaster of this process; the end of the process does the same."""
    for broadcaster in list(_instances):
        broadcaster.close()


after_fork_in_child(_reset_all_after_fork)
atexit.register(close_all)
