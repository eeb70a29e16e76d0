"""Processing queue: a server and its workers, from the start to Ctrl-C."""

import asyncio
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from intake import IntakeError
from launcher import launch
from realtime_bridge import ConfigurationError
from variant import LaunchError, Variant

VARIANTS = ("huey", "htmx", "postgres", "celery")

console = Console(stderr=True, soft_wrap=True, highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C, and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        variant = import_module(f"on_{options.on}.start").VARIANT
        asyncio.run(_until_signal(variant, options.files, port=options.port, data=options.data))
    except (ConfigurationError, IntakeError, LaunchError) as error:
        console.print("[red]error:[/]", Text(str(error)))
        return 1
    except asyncio.CancelledError:
        console.print("Stopped.")
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="processing_queue", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="files and folders to process")
    parser.add_argument(
        "--on", choices=VARIANTS, default=VARIANTS[0], help="queue that runs the jobs"
    )
    parser.add_argument("--port", type=int, default=0, help="TCP port; default: a free one")
    parser.add_argument("--data", type=Path, help="folder of the data; default: a temporary one")
    return parser


async def _until_signal(
    variant: Variant, files: Sequence[Path], *, port: int, data: Path | None
) -> None:
    task = asyncio.current_task()
    assert task

    def end() -> None:
        if not task.cancelling():
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, end)
    await launch(variant, files, port=port, data=data, ready=_announce)


def _announce(url: str, data: Path) -> None:
    console.print(f"\n[bold green]●[/] [bold]The processing queue is running[/]  [cyan]{url}[/]")
    console.print("  [dim]A server and its workers run, each in a process. Ctrl-C stops all.[/]")
    console.print(f"  [dim]Data in {escape(str(data))}[/]\n")
    if not sys.stdout.isatty():
        print(url, flush=True)


if __name__ == "__main__":
    sys.exit(main())
