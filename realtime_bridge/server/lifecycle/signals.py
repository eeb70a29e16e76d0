"""SIGTERM: the clients are sent away first, then the server learns that it has to stop."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]


@contextmanager
def drained_first(drain: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[None]:
    """Let SIGTERM begin with `drain`; when that is done, who handled it before gets it.

    Servers close every socket before they let an application's lifespan end: too late for us. A
    second SIGTERM is passed on at once. Where nobody handles the signal, or not in Python's main
    thread, nothing is changed.
    """
    before = signal.getsignal(signal.SIGTERM)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = _Draining(drain, before)
    signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        handler.ended = True
        if signal.getsignal(signal.SIGTERM) is handler:
            signal.signal(signal.SIGTERM, before)


class _Draining:
    """Handles SIGTERM while a bridge runs; when it has ended, it passes every signal on."""

    def __init__(self, drain: Callable[[], Coroutine[Any, Any, None]], before: Handler) -> None:
        self.ended = False
        self._drain = drain
        self._before = before
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.ended or self._task or self._loop.is_closed():
            self._before(number, frame)
        else:
            self._loop.call_soon_threadsafe(self._begin, number)

    def _begin(self, number: int) -> None:
        self._task = self._loop.create_task(self._drain())
        self._task.add_done_callback(lambda _: self._before(number, None))
