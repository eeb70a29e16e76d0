"""What one variant of this example has of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

Files = Sequence[tuple[str, Path]]
"""Each with the name to show."""


class LaunchError(Exception):
    """The application cannot start, or cannot go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """How jobs are queued, worked on, and told of.

    Args:
        app: the web application, as uvicorn is told of it.
        workers: the processes that work: a module each, and its arguments.
        end: the signal at which a worker lets go of what it does, and ends.
        follow: whether another worker takes the place of one that was killed.
        environment: what its processes are configured with. It may raise LaunchError.
        begin: makes ready what they need, and queues a job for each file; called before they
            start, with the environment set. It may raise LaunchError.

    """

    app: str
    workers: Sequence[tuple[str, ...]]
    begin: Callable[[Files], None]
    end: Signals = Signals.SIGTERM
    follow: bool = False
    environment: Callable[[], Mapping[str, str]] = field(default=dict)
