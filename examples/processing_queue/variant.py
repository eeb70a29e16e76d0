"""Parts in which the variants of this example differ."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

Files = Sequence[tuple[str, Path]]
"""Pairs of the name to display and the path."""


class LaunchError(Exception):
    """Failure of the application at its start or later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Web application and workers of one variant.

    Args:
        app: web application in the form `module:name` of uvicorn.
        workers: worker processes: a module each, and its arguments.
        end: signal at which a worker aborts its job and ends.
        follow: whether to replace a worker that was killed.
        follow_server: whether to replace a server that a signal ended.
        environment: returns the variables of all processes. It may raise LaunchError.
        begin: prepares the queue, and adds a job for each file. It is called before the
            processes start, with the environment set. It may raise LaunchError.
        recover: called after a worker was killed, before another starts.

    """

    app: str
    workers: Sequence[tuple[str, ...]]
    begin: Callable[[Files], None]
    end: Signals = Signals.SIGTERM
    follow: bool = False
    follow_server: bool = False
    recover: Callable[[], None] = lambda: None
    environment: Callable[[], Mapping[str, str]] = field(default=dict)
