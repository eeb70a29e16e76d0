"""The broadcaster for code that is not async: one event loop on one daemon thread."""

import asyncio
import atexit
import inspect
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future, wait
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from realtime_bridge.errors import ConfigurationError, PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.publishing.broadcaster import Broadcaster

if TYPE_CHECKING:
    from realtime_bridge.jobs.job import BlockingJob

T = TypeVar("T")


class BlockingBroadcaster:
    """Publishes from Celery, RQ, Django or a script; safe from many threads and after `fork`.

    It connects on first use, so it may be made at module level; a forked child starts its own
    thread and connections on its own first use. `with` closes it early, otherwise the end of the
    process does.

    Args:
        make: makes the async broadcaster; called once per process, on the first publish.

    """

    def __init__(self, make: Callable[[], Broadcaster]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._writer: Broadcaster | None = None
        self._inherited: tuple[_Running | None, ...] = ()
        _alive.add(self)

    @classmethod
    def from_env(cls) -> Self:
        """Make the broadcaster that the `REALTIME_*` variables describe.

        Raises:
            ConfigurationError: the configuration cannot work; it says why and what to do.

        """
        from realtime_bridge.settings import Settings

        settings = Settings.load()
        Broadcaster.from_settings(settings)
        return cls(lambda: Broadcaster.from_settings(settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def publish(
        self,
        channel: str,
        event: str,
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 -- the field's name on the wire
        key: str | None = None,
        source: str | None = None,
        transaction: object = None,
    ) -> Receipt:
        """Publish one event; arguments, result and errors are those of `Broadcaster.publish`."""
        made: Event = Event.create(channel, event, data, id, key, source)
        (receipt,) = self.publish_many([made], transaction=transaction)
        return receipt

    def publish_many(self, events: Iterable[Event], *, transaction: object = None) -> list[Receipt]:
        """Publish up to 500 events; see `Broadcaster.publish_many`."""
        batch = list(events)
        if transaction is not None:
            return self._write(batch, transaction)
        return self._begin(lambda broadcaster: broadcaster.publish_many(batch)).result()

    def job(
        self,
        channel: str,
        *,
        id: str | None = None,  # noqa: A002 -- as in `publish`
        title: str | None = None,
    ) -> "BlockingJob":
        """Return a job that tells its life on the channel: `with broadcaster.job(…) as job`.

        Raises:
            InvalidEventError: the channel, or the id within the key `job-{id}`, is not valid.

        """
        from realtime_bridge.jobs.job import BlockingJob

        return BlockingJob(channel, id, title, self._tell)

    def _tell(self, telling: Callable[[Broadcaster], Coroutine[Any, Any, None]]) -> None:
        async def begin(broadcaster: Broadcaster) -> None:
            broadcaster.tasks.spawn(telling(broadcaster))

        self._begin(begin)

    def _begin(self, work: Callable[[Broadcaster], Coroutine[Any, Any, T]]) -> Future[T]:
        with self._lock:
            if self._running is None:
                self._running = self._start()
            broadcaster = self._running.broadcaster
            _refuse_within_its_server(broadcaster)
            return self._running.submit(work(broadcaster))

    def _write(self, batch: list[Event], transaction: object) -> list[Receipt]:
        """Write within the caller's transaction: here, in its own thread."""
        if self._writer is None:
            self._writer = self._make()
        writing = self._writer.write(batch, transaction)
        if inspect.iscoroutine(writing):
            writing.close()
            raise ConfigurationError(
                "BlockingBroadcaster takes a transaction that is not async: use Broadcaster"
            )
        return [Receipt(id=event.id) for event in batch]

    def close(self) -> None:
        """Finish what is under way, close the connections and end the thread.

        A later publish starts anew.
        """
        with self._lock:
            running, self._running = self._running, None
        if running:
            running.stop()

    def _start(self) -> "_Running":
        broadcaster = self._make()
        _refuse_within_its_server(broadcaster)
        return _Running(broadcaster)

    def _forget(self) -> None:
        """Begin anew in a forked child: the thread is not here, its lock and sockets are not ours.

        What the parent had is kept referenced, so that no finaliser touches its sockets.
        """
        self._lock = threading.Lock()
        self._inherited += (self._running,)
        self._running = None


def _refuse_within_its_server(broadcaster: Broadcaster) -> None:
    if broadcaster.is_on_server_loop():
        raise PublishError(
            "BlockingBroadcaster was called on the event loop of the server itself, which "
            "would wait for itself: use `await bridge.publish(...)` there, or a thread"
        )


class _Running:
    """One process's thread, event loop and broadcaster."""

    def __init__(self, broadcaster: Broadcaster) -> None:
        self.broadcaster = broadcaster
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="realtime-bridge", daemon=True
        )
        self._under_way: dict[Future[Any], asyncio.Task[Any] | None] = {}
        self._thread.start()
        try:
            self.submit(broadcaster.__aenter__()).result()
        except BaseException:
            self._end()
            raise

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin `work` on the thread's loop, as `run_coroutine_threadsafe` does, but sooner."""
        future: Future[T] = Future()
        self._under_way[future] = None
        self._loop.call_soon_threadsafe(self._loop.create_task, self._finish(work, future))
        return future

    async def _finish(self, work: Coroutine[Any, Any, T], future: Future[T]) -> None:
        self._under_way[future] = asyncio.current_task()
        try:
            result = await work
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        finally:
            del self._under_way[future]

    def stop(self) -> None:
        """Wait for what is under way, close the broadcaster, and end the thread."""
        wait(list(self._under_way))
        try:
            self.submit(self.broadcaster.__aexit__(None, None, None)).result()
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


_alive: weakref.WeakSet[BlockingBroadcaster] = weakref.WeakSet()


def _forget_all() -> None:
    for broadcaster in _alive:
        broadcaster._forget()


def _close_all() -> None:
    for broadcaster in list(_alive):
        broadcaster.close()


os.register_at_fork(after_in_child=_forget_all)
atexit.register(_close_all)
