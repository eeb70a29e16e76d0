"""Hooks that take a cancelled job's task out of its queue."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Protocol

_logger = logging.getLogger("realtime_bridge.integrations")

CancelHook = Callable[[str, str, str | None], Awaitable[None]]
"""Receives the channel, the id of the job, and the user who cancelled it."""

Call = Callable[[str, str], object]
"""Call of a queue, with the channel and the id of the job."""


class CancelHooks(Protocol):
    """Bridge, as these hooks need it."""

    def on_cancel(self, hook: CancelHook) -> object:
        """Call the hook after each accepted cancel; see `Bridge.on_cancel`."""


def call_in_thread(
    call: Call, *, then: Call | None = None, after: float | None = None
) -> CancelHook:
    """Return the hook that calls a queue's client, which blocks, in a thread.

    Args:
        call: the call.
        then: second call, of which a failure is logged.
        after: seconds until then; None leaves it out.

    """

    async def hook(channel: str, job: str, by: str | None) -> None:  # noqa: ARG001 -- the hook's form
        await asyncio.to_thread(call, channel, job)
        if then is not None and after is not None:
            timer = threading.Timer(after, _call_safely, (then, channel, job))
            timer.daemon = True  # the end of a server does not wait for it
            timer.start()

    return hook


def _call_safely(call: Call, channel: str, job: str) -> None:
    try:
        call(channel, job)
    except Exception:
        _logger.exception("task not stopped job=%s", job)
