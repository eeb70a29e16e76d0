"""`realtime-bridge serve`: the server, alone or with an application's own bridge."""

import os
from typing import Annotated

import typer

from realtime_bridge.cli.console import exit_on_error


def serve(
    target: Annotated[
        str | None,
        typer.Argument(metavar="MODULE:BRIDGE", help="Your own Bridge, with its rules."),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    path: Annotated[
        str | None, typer.Option(help="Where the bridge is; else REALTIME_PATH, or /realtime.")
    ] = None,
    dev: Annotated[
        bool,
        typer.Option("--dev", help="Trust everybody on this machine: ?userId=, no secret needed."),
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the port.")] = 1,
    grace: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="From SIGTERM until we are killed: clients are sent away meanwhile. "
            "Else REALTIME_GRACE_SECONDS, or 30.",
        ),
    ] = None,
) -> None:
    """Serve browsers and workers; without MODULE:BRIDGE, tokens decide who may listen."""
    from realtime_bridge.cli import server_runner

    if path is not None:
        os.environ["REALTIME_PATH"] = path
    if grace is not None:
        os.environ["REALTIME_GRACE_SECONDS"] = str(grace)
    if target:
        os.environ[server_runner.TARGET] = target
    if dev:
        os.environ["REALTIME_DEV"] = "true"
    with exit_on_error():
        server_runner.run(host, port, workers=workers)
