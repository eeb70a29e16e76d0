"""What the commands share: words for people on standard error, and errors without a traceback."""

from collections.abc import Generator
from contextlib import contextmanager

import typer
from rich.console import Console

from realtime_bridge.errors import RealtimeError

stderr = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
"""Where people read; standard output is for programs."""

DEFAULT_URL = "http://127.0.0.1:8000/realtime"


@contextmanager
def exit_on_error() -> Generator[None]:
    """End with status 1 and one sentence, where the library says what is wrong."""
    try:
        yield
    except RealtimeError as error:
        stderr.print("error:", style="red", end=" ")
        stderr.print(str(error))
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
