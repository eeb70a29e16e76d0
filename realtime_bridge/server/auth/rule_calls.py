"""Calls of the application's channel rules: few at once for one user."""

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from realtime_bridge.backend.native_threads import NativeExecutor

RULES_PER_USER = 8
"""The most calls at once for one user: the others wait, and so do no other users."""

THREADS = 32
"""Threads of sync rules, which other work does not need: `authenticate` has threads of its own."""


class _Turns:
    """Places of one user, and the number of calls that have or await one."""

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(RULES_PER_USER)
        self.calls = 0


class RuleCalls:
    """Caller of rules: one user with many connections does not delay the others."""

    def __init__(self) -> None:
        self._threads: NativeExecutor | None = None
        self._turns: dict[str, _Turns] = {}

    async def call(self, user: str, rule: Callable[[], Any]) -> Any:
        """Call a rule for a user, async or not, and return its result."""
        turns = self._turns.setdefault(user, _Turns())
        turns.calls += 1
        try:
            await turns.places.acquire()
        except asyncio.CancelledError:
            self._leave(user, turns)
            raise
        release = partial(self._release, user, turns)
        if inspect.iscoroutinefunction(rule):
            try:
                return await rule()
            finally:
                release()
        result = await self._call_in_thread(rule, release)
        return await result if inspect.isawaitable(result) else result

    async def _call_in_thread(self, rule: Callable[[], Any], release: Callable[[], None]) -> Any:
        """Call a sync rule; it has its place until it ends, also after its request was cancelled.

        Otherwise a client could leave and return, and occupy all threads.
        """
        loop, context, has_begun = asyncio.get_running_loop(), contextvars.copy_context(), False

        def run() -> Any:
            nonlocal has_begun
            has_begun = True
            try:
                return context.run(rule)
            finally:
                with suppress(RuntimeError):  # the loop has ended meanwhile
                    loop.call_soon_threadsafe(release)

        if self._threads is None:
            self._threads = NativeExecutor(THREADS, thread_name_prefix="channel-rule")
        try:
            return await loop.run_in_executor(self._threads, run)
        finally:
            if not has_begun:
                release()

    def _release(self, user: str, turns: _Turns) -> None:
        turns.places.release()
        self._leave(user, turns)

    def _leave(self, user: str, turns: _Turns) -> None:
        turns.calls -= 1
        if not turns.calls:
            self._turns.pop(user, None)
