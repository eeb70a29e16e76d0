"""Real threads where gevent or eventlet replaced `threading`, `select` and `time` by greenlets.

An event loop in a greenlet occupies its whole thread: asyncio takes each other greenlet for code
of the loop, and a second loop can never run. So the loop runs in a real thread, and greenlets wait
for it by sleeping, which lets the others run.
"""

import asyncio
import selectors
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

FIRST_PAUSE, LONGEST_PAUSE = 0.0005, 0.02
"""Seconds between two looks of a greenlet at its result; each pause is longer than the last one."""

P = ParamSpec("P")
T = TypeVar("T")


def has_greenlets() -> bool:
    """Return whether gevent or eventlet replaced threads by greenlets in this process."""
    return _patcher() is not None


def start_native_thread(run: Callable[[], object], name: str) -> Callable[[], object]:
    """Run a function in a real daemon thread, and return a function that waits for its end."""
    if not has_greenlets():
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread.join
    ended = create_future()

    def run_to_end() -> None:
        try:
            run()
        finally:
            ended.set_result(None)

    _original("_thread", "start_new_thread")(run_to_end, ())
    return partial(wait_for, ended)


def create_lock() -> threading.Lock:
    """Return a lock that real threads and greenlets share; no holder may wait for anything."""
    lock: threading.Lock = _original("_thread", "allocate_lock")()
    return lock


def sleep(seconds: float) -> None:
    """Let the current thread sleep: a greenlet's `sleep` would need a hub in this thread."""
    _original("time", "sleep")(seconds)


def create_future() -> "Future[Any]":
    """Return a future that another thread completes, and for which `wait_for` waits."""
    future: Future[Any] = Future()
    if has_greenlets():
        future._condition = threading.Condition(create_lock())
    return future


def wait_for(future: "Future[Any]", seconds: float | None = None) -> bool:
    """Wait until a future is done, for a number of seconds at most; return whether it is."""
    if not has_greenlets() and seconds is None:
        with suppress(CancelledError):
            future.exception()  # cheaper than `wait`, and part of each publish
        return True
    if not has_greenlets():
        # Not `result`: a TimeoutError of a task's own alarm has to reach the task.
        return bool(wait({future}, seconds).done)
    deadline = None if seconds is None else time.monotonic() + seconds
    pause = FIRST_PAUSE
    while not future.done():
        if deadline is not None and time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
    return True


def create_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop for a real thread; call it in that thread."""
    if has_greenlets():
        loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop(_create_selector())
    else:
        loop = asyncio.new_event_loop()
    loop.set_default_executor(NativeExecutor())
    return loop


class NativeExecutor(ThreadPoolExecutor):
    """Executor of blocking calls, such as a resolver's or a rule's, until the process has ended.

    Beside greenlets each call has a real thread. While the interpreter ends, no thread starts: the
    last updates of jobs are published then, and a call runs in the loop's own thread.
    """

    def submit(self, call: Callable[P, T], /, *args: P.args, **options: P.kwargs) -> "Future[T]":
        """Start a call, and return the future of its result."""
        greenlets = has_greenlets()
        if not greenlets:
            with suppress(RuntimeError):
                return super().submit(call, *args, **options)
        future: Future[T] = create_future()

        def run() -> None:
            try:
                future.set_result(call(*args, **options))
            except BaseException as error:
                future.set_exception(error)

        if greenlets:
            start_native_thread(run, "realtime-bridge-call")
        else:
            run()
        return future


def _create_selector() -> selectors.BaseSelector:
    class Selector(selectors._PollLikeSelector):
        """Selector on the real poll(): the greenlets' one waits in a hub of their library."""

        _selector_cls = _original("select", "poll")
        _EVENT_READ = _original("select", "POLLIN")
        _EVENT_WRITE = _original("select", "POLLOUT")

    return Selector()


def _original(module: str, name: str) -> Any:
    patcher = _patcher()
    return patcher(module, name) if patcher else getattr(import_module(module), name)


def _patcher() -> Callable[[str, str], Any] | None:
    """Return the function that finds an original, if threads are replaced."""
    monkey: Any = sys.modules.get("gevent.monkey")
    if monkey and monkey.is_module_patched("threading"):
        original: Callable[[str, str], Any] = monkey.get_original
        return original
    patcher: Any = sys.modules.get("eventlet.patcher")
    if patcher and patcher.is_monkey_patched("thread"):
        return lambda module, name: getattr(patcher.original(module), name)
    return None
