"""Output for people on standard error, and errors without a traceback."""

from collections.abc import Generator
from contextlib import contextmanager

import typer
from rich.console import Console

from realtime_bridge.errors import RealtimeError

stderr: Console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
"""Console for people; standard output is for programs."""

DEFAULT_URL = "http://127.0.0.1:8000/realtime"


@contextmanager
def exit_on_error() -> Generator[None]:
    """Exit with status 1 and one sentence when the library raises an error."""
    try:
        yield
    except RealtimeError as error:
        stderr.print("error:", style="red", end=" ")
        stderr.print(str(error))
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        # 128 + SIGINT: the status a shell gives to an interrupted command.
        raise typer.Exit(130) from None
