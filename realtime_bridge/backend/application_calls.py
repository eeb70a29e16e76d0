"""Wrappers around the application's functions: its rules, and its authentication.

A framework's integration registers what the framework does around a request of its own, such as
returning database connections. The functions run outside such a request here.
"""

from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]
Wrapper = Callable[[Function], Function]

_wrappers: list[Wrapper] = []


def add_wrapper(wrapper: Wrapper) -> None:
    """Apply a wrapper to each function of the application, sync or async, before its call."""
    if wrapper not in _wrappers:
        _wrappers.append(wrapper)


def wrapped(function: Function) -> Function:
    """Return the function with the registered wrappers around it."""
    for wrapper in _wrappers:
        function = wrapper(function)
    return function
