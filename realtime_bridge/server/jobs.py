"""Requests of people to jobs, and the application's hooks after them."""

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from realtime_bridge.backend.application_calls import wrapped
from realtime_bridge.backend.native_threads import NativeExecutor
from realtime_bridge.jobs.control import JobReply
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline

CancelHook = Callable[[str, str, str | None], Any]
"""Function of the application, async or not: it gets channel, job and user of a cancel."""

AnswerHook = Callable[[str, str, str, Any, str | None], Any]
"""The same for an answer: channel, job, id of the question, value and user."""

THREADS = 8
"""Threads of sync hooks: some that hang, as for a broker that is down, delay no other work."""

_logger = logging.getLogger("realtime_bridge.server")


class ServerJobs:
    """Jobs of a server's channels.

    Args:
        pipeline: the broadcaster.
        hook_seconds: longest time that the hooks of one request may take.

    """

    def __init__(self, pipeline: ServerPipeline, *, hook_seconds: float) -> None:
        self._pipeline = pipeline
        self._hook_seconds = hook_seconds
        self._cancel_hooks: list[CancelHook] = []
        self._answer_hooks: list[AnswerHook] = []
        self._threads: NativeExecutor | None = None

    def add_cancel_hook(self, hook: CancelHook) -> None:
        """Call `hook(channel, job, by)` after each accepted cancel."""
        self._cancel_hooks.append(hook)

    def add_answer_hook(self, hook: AnswerHook) -> None:
        """Call `hook(channel, job, question, value, by)` after each accepted answer."""
        self._answer_hooks.append(hook)

    async def cancel(
        self, channel: str, job: str, *, by: str | None, reason: str | None
    ) -> JobReply:
        """Request the end of a job, then call the hooks; see `Broadcaster.cancel_job`."""
        control = self._pipeline.broadcaster.job_control
        cancellation = await control.cancel(channel, job, by=by, reason=reason)
        calls = [
            self._call(hook, "cancel", channel, cancelled, by)
            for cancelled in cancellation.jobs
            for hook in self._cancel_hooks
        ]
        # After the log has the request: what a hook does is not undone.
        await asyncio.gather(*calls)
        return cancellation.reply

    async def answer(
        self, channel: str, job: str, question: str, value: Any, *, by: str | None
    ) -> JobReply:
        """Answer the question of a job, then call the hooks; see `Broadcaster.answer_job`."""
        control = self._pipeline.broadcaster.job_control
        reply = await control.answer(channel, job, question, value, by=by)
        if reply.accepted:
            hooks = self._answer_hooks
            calls = [
                self._call(hook, "answer", channel, job, question, value, by) for hook in hooks
            ]
            await asyncio.gather(*calls)
        return reply

    async def _call(
        self, hook: Callable[..., Any], kind: str, channel: str, job: str, *details: Any
    ) -> None:
        """Call a hook; its failure is logged, and changes nothing."""
        try:
            async with asyncio.timeout(self._hook_seconds):
                await self._call_hook(hook, channel, job, *details)
        except Exception as error:
            reason = str(error) or type(error).__name__
            _logger.warning(
                "%s hook failed channel=%s job=%s error=%r",
                kind,
                channel,
                job,
                reason,
                exc_info=None if isinstance(error, TimeoutError) else error,
            )

    async def _call_hook(self, hook: Callable[..., Any], *args: Any) -> None:
        function = partial(wrapped(hook), *args)
        if inspect.iscoroutinefunction(hook):
            await function()
            return
        # It may ask a broker: in a thread it does not block the event loop.
        if self._threads is None:
            self._threads = NativeExecutor(THREADS, thread_name_prefix="job-hook")
        run = partial(contextvars.copy_context().run, function)
        result = await asyncio.get_running_loop().run_in_executor(self._threads, run)
        if inspect.isawaitable(result):
            await result
