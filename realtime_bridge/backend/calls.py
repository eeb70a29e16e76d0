"""Calls of a backend: whatever error it raises becomes an error of this library."""

import logging
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from realtime_bridge.backend.component import Component
from realtime_bridge.backend.outage_log import is_connection_error
from realtime_bridge.errors import BackendUnavailableError, RealtimeError

CONNECTION_ERRORS = (OSError, EOFError, RuntimeError)
"""Errors by which event loops report a lost connection; RuntimeError is uvloop's after a reset."""

P = ParamSpec("P")
R = TypeVar("R")

_logger = logging.getLogger("realtime_bridge.backend")

_logged: WeakKeyDictionary[Component, set[type[BaseException]]] = WeakKeyDictionary()
"""Classes of errors that were logged with their traceback, by backend."""


async def backend_call(
    backend: Component, method: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Call a method of a backend, and raise its error as an error of this library.

    A backend may raise the errors of its library or of the event loop: uvloop, for one, raises
    RuntimeError where a connection was reset. Callers handle our errors alone. A mistake in the
    backend's code is logged once with its traceback.

    Raises:
        RealtimeError: the backend's error; of any other class, a `BackendUnavailableError` with
            the original as its cause.

    """
    try:
        return await method(*args, **kwargs)
    except RealtimeError:
        raise
    except Exception as error:
        if not is_connection_error(error):
            _log_once(backend, error)
        raise BackendUnavailableError(
            f"{backend} failed ({type(error).__name__}: {str(error) or 'no message'}): check "
            "that it runs and can be reached. Publishing the same id again is safe"
        ) from error


def timed_out(part: object, seconds: float) -> BackendUnavailableError:
    """Return the error of a log or backend that did not answer within so many seconds."""
    return BackendUnavailableError(
        f"{part} did not answer within {seconds:g} s: check that it runs "
        "and can be reached. Publishing the same id again is safe"
    )


def _log_once(backend: Component, error: Exception) -> None:
    logged = _logged.setdefault(backend, set())
    if type(error) not in logged:
        logged.add(type(error))
        _logger.error("backend raised an unexpected error backend=%s", backend, exc_info=error)
