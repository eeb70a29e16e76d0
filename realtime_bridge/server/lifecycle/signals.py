"""SIGTERM handling: the bridge drains its connections before the server receives the signal."""

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


@contextmanager
def drained_first(drain: Drain, tasks: Supervisor) -> Iterator[None]:
    """Run `drain` on SIGTERM, then call the previous handler.

    A second SIGTERM is passed on at once. Without a previous handler, or outside the main thread,
    nothing changes.

    Args:
        drain: drains the connections.
        tasks: owner of the task that drains.

    """
    # uvicorn closes all sockets before it ends the lifespan. Draining there would be too late, so
    # the bridge handles the signal first.
    before = signal.getsignal(signal.SIGTERM)
    # Python allows signal.signal in the main thread alone.
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = _Draining(drain, before, tasks)
    signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        handler.ended = True
        # Another library may have replaced the handler since; its handler stays.
        if signal.getsignal(signal.SIGTERM) is handler:
            signal.signal(signal.SIGTERM, before)


class _Draining:
    """Handler of SIGTERM while a bridge runs; afterwards it passes each signal on."""

    def __init__(self, drain: Drain, before: Handler, tasks: Supervisor) -> None:
        self.ended = False
        self._drain = drain
        self._tasks = tasks
        self._before = before
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.ended or self._task or self._loop.is_closed():
            self._before(number, frame)
        else:
            # A signal handler interrupts arbitrary code; this is the call that is safe there.
            self._loop.call_soon_threadsafe(self._begin, number)

    def _begin(self, number: int) -> None:
        self._task = self._tasks.spawn("drain", self._drain())
        self._task.add_done_callback(lambda _: self._before(number, None))
