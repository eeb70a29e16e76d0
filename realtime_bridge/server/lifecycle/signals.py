"""Signals that stop a server: the bridge drains its connections before the server receives them."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from realtime_bridge.backend.supervisor import Supervisor

Handler = Callable[[int, FrameType | None], Any]
Drain = Callable[[], Coroutine[Any, Any, None]]

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

ONE_STOP_SECONDS = 1.0
"""Time in which SIGINT and SIGTERM are one request: Ctrl-C reaches a whole group of processes, and
the parent of the workers then sends them SIGTERM."""


@contextmanager
def drained_first(drain: Drain, close: Callable[[], None], tasks: Supervisor) -> Iterator[None]:
    """Run `drain` on SIGTERM or Ctrl-C, then call the previous handler of that signal.

    A second signal closes all connections and is passed on at once. Without a previous handler,
    or outside the main thread, nothing changes.

    Args:
        drain: drains the connections.
        close: closes all connections.
        tasks: owner of the task that drains.

    """
    # Python allows signal.signal in the main thread alone.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # uvicorn closes all sockets before it ends the lifespan. Draining there would be too late, so
    # the bridge handles the signals first.
    draining = _Draining(drain, close, tasks)
    for number in STOP_SIGNALS:
        draining.replace(number)
    try:
        yield
    finally:
        draining.restore()


class _Draining:
    """Handler of signals while a bridge runs; afterwards it passes each signal on."""

    def __init__(self, drain: Drain, close: Callable[[], None], tasks: Supervisor) -> None:
        self._drain = drain
        self._close = close
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._before: dict[int, Handler] = {}
        self._received: dict[int, float] = {}
        """Time of the first signal of each number."""
        self._has_ended = False

    def replace(self, number: int) -> None:
        """Take the place of a signal's handler, if it has one of Python."""
        before = signal.getsignal(number)
        if callable(before):
            self._before[number] = before
            signal.signal(number, self)

    def restore(self) -> None:
        """Put the previous handlers back."""
        self._has_ended = True
        for number, before in self._before.items():
            # Another library may have replaced the handler since; its handler stays.
            if signal.getsignal(number) is self:
                signal.signal(number, before)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._has_ended or self._loop.is_closed():
            self._before[number](number, frame)
        elif not self._received:
            self._received[number] = self._loop.time()
            # A signal handler interrupts arbitrary code; this is the call that is safe there.
            self._loop.call_soon_threadsafe(self._begin, number)
        elif self._is_same_stop(number):
            self._received[number] = self._loop.time()
        else:
            self._loop.call_soon_threadsafe(self._close)
            self._before[number](number, frame)

    def _is_same_stop(self, number: int) -> bool:
        first = min(self._received.values())
        return number not in self._received and self._loop.time() - first < ONE_STOP_SECONDS

    def _begin(self, number: int) -> None:
        task = self._tasks.spawn("drain", self._drain())
        task.add_done_callback(lambda _: self._before[number](number, None))
