"""Calls of a backend: whatever error it raises becomes an error of this library."""

import logging
from types import TracebackType
from weakref import WeakKeyDictionary

from realtime_bridge.backend.component import Component
from realtime_bridge.backend.outage_log import is_connection_error
from realtime_bridge.errors import BackendUnavailableError, RealtimeError

CONNECTION_ERRORS = (OSError, EOFError, RuntimeError)
"""Errors by which event loops report a lost connection; RuntimeError is uvloop's after a reset."""

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
