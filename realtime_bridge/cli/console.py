"""Output for people on standard error, and errors without a traceback."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console

from realtime_bridge.errors import RealtimeError


def visible(text: str) -> str:
    """Return a text whose control characters are written out: a terminal would obey them."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else ascii(letter)[1:-1]
        for letter in text
    )


class _VisibleConsole(Console):
    """Console that obeys no escape sequence in its texts; servers and databases send some."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(
            *(visible(one) if isinstance(one, str) else one for one in objects), **options
        )


stderr: Console = _VisibleConsole(
    stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True
)
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
