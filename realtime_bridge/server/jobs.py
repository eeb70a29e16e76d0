"""Requests of people to jobs, and the application's hooks after a cancel."""

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any

from realtime_bridge.backend.application_calls import wrapped
from realtime_bridge.jobs.control import JobReply
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline

CancelHook = Callable[[str, str, str | None], Any]
"""Function of the application, async or not: it gets channel, job and user of a cancel."""

_logger = logging.getLogger("realtime_bridge.server")


class ServerJobs:
    """Jobs of a server's channels.

    Args:
        pipeline: the broadcaster.
        hook_seconds: longest time that the hooks of one cancel may take.

    """

    def __init__(self, pipeline: ServerPipeline, *, hook_seconds: float) -> None:
        self._pipeline = pipeline
        self._hook_seconds = hook_seconds
        self._hooks: list[CancelHook] = []

    def add_hook(self, hook: CancelHook) -> None:
        """Call `hook(channel, job, by)` after each accepted cancel."""
        self._hooks.append(hook)

    async def cancel(
        self, channel: str, job: str, *, by: str | None, reason: str | None
    ) -> JobReply:
        """Request the end of a job, then call the hooks; see `Broadcaster.cancel_job`."""
        control = self._pipeline.broadcaster.job_control
        cancellation = await control.cancel(channel, job, by=by, reason=reason)
        calls = [
            self._call(hook, channel, cancelled, by)
            for cancelled in cancellation.jobs
            for hook in self._hooks
        ]
        # After the log has the request: what a hook does is not undone.
        await asyncio.gather(*calls)
        return cancellation.reply

    async def answer(
        self, channel: str, job: str, question: str, value: Any, *, by: str | None
    ) -> JobReply:
        """Answer the question of a job; see `Broadcaster.answer_job`."""
        control = self._pipeline.broadcaster.job_control
        return await control.answer(channel, job, question, value, by=by)

    async def _call(self, hook: CancelHook, channel: str, job: str, by: str | None) -> None:
        """Call a hook; its failure is logged, and changes nothing."""
        try:
            async with asyncio.timeout(self._hook_seconds):
                await _call_hook(hook, channel, job, by)
        except Exception as error:
            reason = str(error) or type(error).__name__
            _logger.warning(
                "cancel hook failed channel=%s job=%s error=%r",
                channel,
                job,
                reason,
                exc_info=None if isinstance(error, TimeoutError) else error,
            )


async def _call_hook(hook: CancelHook, *args: Any) -> None:
    function = wrapped(hook)
    if inspect.iscoroutinefunction(hook):
        await function(*args)
        return
    # It may ask a broker: in a thread it does not block the event loop.
    result = await asyncio.to_thread(function, *args)
    if inspect.isawaitable(result):
        await result
