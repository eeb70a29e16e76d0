"""Calls of a backend: whatever error it raises becomes an error of this library."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TypeVar
from weakref import WeakKeyDictionary

from realtime_bridge.backend.component import Component
from realtime_bridge.backend.outage_log import is_connection_error
from realtime_bridge.errors import BackendUnavailableError, RealtimeError

CONNECTION_ERRORS = (OSError, EOFError, RuntimeError)
"""Errors by which event loops report a lost connection; RuntimeError is uvloop's after a reset."""

CALLS_AT_ONCE = 16
"""The most calls of `call_for_each` at the same time."""

A = TypeVar("A")
R = TypeVar("R")

_logger = logging.getLogger("realtime_bridge.backend")

_logged: WeakKeyDictionary[Component, set[type[BaseException]]] = WeakKeyDictionary()
"""Classes of errors that were logged with their traceback, by backend."""


class backend_call:  # noqa: N801 -- a context manager, named like a function
    """Context of one call: `with backend_call(log): await log.append(…)`.

    A backend may raise the errors of its library or of the event loop: uvloop, for one, raises
    RuntimeError where a connection was reset. Callers handle our errors alone. So an error of any
    other class is raised as `BackendUnavailableError`, with the original as its cause. A mistake
    in the backend's code also becomes one, and is logged once with its traceback.

    Args:
        backend: the backend that is called.

    """

    __slots__ = ("_backend",)

    def __init__(self, backend: Component) -> None:
        self._backend = backend

    def __enter__(self) -> None:
        return

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, RealtimeError):
            return
        if not is_connection_error(error):
            self._log_once(error)
        raise BackendUnavailableError(
            f"{self._backend} failed ({type(error).__name__}: {error or 'no message'}): check "
            "that it runs and can be reached. Publishing the same id again is safe"
        ) from error

    def _log_once(self, error: Exception) -> None:
        logged = _logged.setdefault(self._backend, set())
        if type(error) not in logged:
            logged.add(type(error))
            _logger.error(
                "backend raised an unexpected error backend=%s", self._backend, exc_info=error
            )


async def call_for_each(
    arguments: Mapping[str, A], call: Callable[[str, A], Awaitable[R]]
) -> dict[str, R]:
    """Call a function for each channel, several at a time, and return the results.

    One after another, the calls to a distant log would take longer than clients wait.

    Args:
        arguments: the channels, each with the function's second argument.
        call: the function. Its first error cancels the other calls, and is raised.

    """
    if len(arguments) == 1:
        # Most clients have one channel, and need no task.
        ((name, argument),) = arguments.items()
        return {name: await call(name, argument)}
    room = asyncio.Semaphore(CALLS_AT_ONCE)

    async def call_one(channel: str, argument: A) -> R:
        async with room:
            return await call(channel, argument)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = {
                name: group.create_task(call_one(name, argument))
                for name, argument in arguments.items()
            }
    except BaseExceptionGroup as errors:
        # The channels have one log, so its first error describes the others too.
        raise errors.exceptions[0] from None
    return {name: task.result() for name, task in tasks.items()}
