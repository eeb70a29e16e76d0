"""Compiled core: twins in C of the functions that each event passes through.

Without a compiler at the installation, and with `REALTIME_PURE_PYTHON=1` in the environment, the
functions in Python do all the work, slower.
"""

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

in_python: dict[str, Callable[..., Any]] = {}
"""The functions in Python that have a twin, by name."""


def _load() -> ModuleType | None:
    if os.environ.get("REALTIME_PURE_PYTHON"):
        return None
    try:
        from realtime_bridge.compiled import _core
    except ImportError:
        return None
    return _core


_loaded = _load()


def compiled(name: str, *bound: object) -> Callable[..., Any] | None:
    """Return a function of the compiled core, or None where Python has to do its work.

    Args:
        name: name of the function.
        bound: the classes whose objects it works on, and what it calls for the rest.

    """
    if _loaded is None:
        return None
    try:
        if bound:
            getattr(_loaded, f"bind_{name}")(*bound)
    except TypeError:
        # The classes have other layouts: another version of msgspec, or another Python.
        return None
    function: Callable[..., Any] = getattr(_loaded, name)
    return function


def twin(*bound: object) -> Callable[[F], F]:
    """Return a decorator that replaces a function by its compiled twin, where there is one.

    The twin calls the function itself for rare arguments.

    Args:
        bound: see `compiled`.

    """

    def replace(function: F) -> F:
        in_python[function.__name__] = function
        return compiled(function.__name__, function, *bound) or function  # type: ignore[return-value]

    return replace
