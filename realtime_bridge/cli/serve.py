"""Command `serve`: the server, alone or with an application's own bridge."""

import os
from typing import Annotated

import typer

from realtime_bridge.cli.console import exit_on_error
from realtime_bridge.cli.log_format import LogFormat, LogLevel


def serve(
    target: Annotated[
        str | None,
        typer.Argument(metavar="MODULE:BRIDGE", help="Your own Bridge with its rules."),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")
    ] = 8000,
    path: Annotated[
        str | None, typer.Option(help="Mount path; default REALTIME_PATH, or /realtime.")
    ] = None,
    dev: Annotated[
        bool,
        typer.Option(
            "--dev", help="Trust every client on this machine: accept ?userId=, need no secret."
        ),
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes on the port.")] = 1,
    grace: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Time from SIGTERM to SIGKILL, for draining clients; "
            "default REALTIME_GRACE_SECONDS, or 30.",
        ),
    ] = None,
    log_level: Annotated[
        LogLevel, typer.Option(help="Lowest level of the log lines.")
    ] = LogLevel.info,
    log_format: Annotated[
        LogFormat, typer.Option(help="Log lines as text, or as a JSON object each.")
    ] = LogFormat.text,
) -> None:
    """Serve browsers and workers; without MODULE:BRIDGE, tokens grant the channels."""
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
        server_runner.run(host, port, workers=workers, level=log_level, form=log_format)
