"""Commands and their options."""

from pathlib import Path
from typing import Annotated

import typer

from realtime_bridge import __version__
from realtime_bridge.cli import mirror, postgres
from realtime_bridge.cli.console import exit_on_error
from realtime_bridge.cli.declared_events import asyncapi, types
from realtime_bridge.cli.demo import demo as run_demo
from realtime_bridge.cli.dev_provider import dev_provider
from realtime_bridge.cli.doctor import doctor
from realtime_bridge.cli.forward import forward
from realtime_bridge.cli.listen import listen
from realtime_bridge.cli.publish import publish
from realtime_bridge.cli.relay import relay
from realtime_bridge.cli.serve import serve
from realtime_bridge.cli.token import token

app: typer.Typer = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"realtime-bridge {__version__}")
        raise typer.Exit


@app.callback()
def _about(
    _version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Publish once from a worker: each authorized browser gets the event, in order, without gaps.

    REALTIME_… environment variables hold the configuration: see docs/configuration.md.
    """


def demo(
    files: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, help="Files and folders to process at the start."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    data: Annotated[
        Path | None, typer.Option(help="Keep uploads and results here, not in a temporary folder.")
    ] = None,
) -> None:
    """Run the example: upload files, watch a worker process them, cut the connection."""
    with exit_on_error():
        run_demo(files or (), port=port, data=data)


_SERVING = (serve, publish, listen, token, doctor, relay, forward, dev_provider, demo)
for _command in (*_SERVING, types, asyncapi):
    app.command()(_command)
app.add_typer(postgres.app, name="postgres")
app.add_typer(mirror.app, name="mirror")
