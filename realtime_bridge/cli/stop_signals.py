"""Signals that stop a command, on systems with and without support of the event loop."""

import asyncio
import signal
from collections.abc import Callable


def call_on_stop(stop: Callable[[], object]) -> None:
    """Call `stop` in the running event loop on Ctrl-C and SIGTERM."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # the event loops of Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
