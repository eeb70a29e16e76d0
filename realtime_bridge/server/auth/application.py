"""Calls of the application's own functions: its authentication and its channel rules."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from realtime_bridge.backend.application_calls import wrapped
from realtime_bridge.backend.outage_log import OutageLog

_QUIET_SECONDS = 5.0
"""Time without a failure after which a function works again, for the process's log."""

_logger = logging.getLogger("realtime_bridge.server")


Run = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Calls a function without arguments, async or not, and returns its result."""


async def call_now(function: Callable[[], Any]) -> Any:
    """Call a function at once; one that is not async in a thread."""
    if inspect.iscoroutinefunction(function):
        return await function()
    # It may query a database: in a thread it does not block the event loop.
    result = await asyncio.to_thread(function)
    return await result if inspect.isawaitable(result) else result


class ApplicationFunction:
    """Function of the application, async or not.

    Its failures are one outage in the log: a function that fails for each request writes one
    traceback, and one line when it works again.

    Args:
        function: the function.
        name: the function's name in log lines.
        convert: converts a result; its error counts as one of the function.

    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        *,
        convert: Callable[[Any], Any] = lambda result: result,
    ) -> None:
        self._function = function
        self._convert = convert
        self._is_async = inspect.iscoroutinefunction(function)
        self._outage = OutageLog(
            _logger, f"{name} failed:", f"{name} works again:", quiet=_QUIET_SECONDS
        )

    async def call(
        self,
        argument: object,
        named: Mapping[str, str] | None = None,
        *,
        run: Run = call_now,
        **fields: object,
    ) -> Any:
        """Call the function, and return its result.

        Args:
            argument: the first argument of the function.
            named: its arguments by name.
            run: calls a function without arguments, when it is its turn.
            fields: further fields of the log line of a failure.

        Raises:
            Exception: the function's own exception, which was logged.

        """
        try:
            result = self._convert(await self._call(argument, named or {}, run))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            # The function's own: it awaited something that was cancelled.
            failure = RuntimeError("the function was cancelled from within")
            self._outage.failed(failure, **fields)
            raise failure from error
        except Exception as error:
            self._outage.failed(error, **fields)
            raise
        if self._outage.failures:
            self._outage.works()
        return result

    async def _call(self, argument: object, named: Mapping[str, str], run: Run) -> Any:
        function = wrapped(self._function)
        if self._is_async:
            return await run(partial(function, argument, **named))
        return await run(partial(self._call_in_thread, function, argument, named))

    @staticmethod
    def _call_in_thread(
        function: Callable[..., Any], argument: object, named: Mapping[str, str]
    ) -> Any:
        try:
            return function(argument, **named)
        except (StopIteration, SystemExit) as error:
            # No future takes a StopIteration, as of `next` without a match: the caller would wait
            # without end. A SystemExit would end the server.
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
