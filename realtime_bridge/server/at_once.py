"""Work that usually waits for nothing, run without a task."""

from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")
D = TypeVar("D")


def run_at_once(work: Coroutine[Any, Any, R], default: D) -> R | D:
    """Run work that is not expected to wait, and return its result.

    Args:
        work: the work; if it waits, it is ended.
        default: the result in that case.

    """
    try:
        work.send(None)
    except StopIteration as end:
        result: R = end.value
        return result
    work.close()
    return default
