"""Command `dev-provider`: a hosted provider on this machine, without an account."""

import asyncio
from typing import Annotated

import typer

from realtime_bridge.cli.console import exit_on_error, stderr
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.testing.providers import PROVIDERS, local_provider

PORT = 6001
"""Default port of soketi and Reverb, the self-hosted Pusher servers."""


SWITCHES = ("error-in-body", "html", "refuse", "silent-refusals")
"""Faults of `Faults` that are on or off."""

Share = Annotated[float, typer.Option(min=0, max=1, help="Share of events affected, 0 to 1.")]


def dev_provider(
    name: Annotated[str, typer.Argument(metavar="|".join(PROVIDERS), help="Provider to imitate.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = PORT,
    lose: Share = 0.0,
    duplicate: Share = 0.0,
    reorder: Share = 0.0,
    fault: Annotated[
        list[str] | None, typer.Option(metavar="|".join(SWITCHES), help="Fault to switch on.")
    ] = None,
    max_name: Annotated[
        int | None, typer.Option(min=1, help="Longest name of a channel, with its prefix.")
    ] = None,
) -> None:
    """Run a local stand-in for a hosted provider, and print the variables that select it."""
    with exit_on_error():
        if name not in PROVIDERS:
            raise ConfigurationError(
                f"Unknown provider {name!r}: choose one of {', '.join(PROVIDERS)}"
            )
        switches = {_switch(one): True for one in fault or ()}
        faults = {"lose": lose, "duplicate": duplicate, "reorder": reorder, "max_name": max_name}
        asyncio.run(_serve(name, port, **faults, **switches))


def _switch(name: str) -> str:
    if name not in SWITCHES:
        raise ConfigurationError(f"Unknown fault {name!r}: choose one of {', '.join(SWITCHES)}")
    return name.replace("-", "_")


async def _serve(name: str, port: int, **faults: float | bool | None) -> None:
    try:
        async with local_provider(name, port=port) as provider:
            for fault, value in faults.items():
                setattr(provider.faults, fault, value)
            stderr.print(f"a local {name} runs; in the server's and the workers' shells:")
            for variable, text in provider.environment.items():
                typer.echo(f"export {variable}={text}")
            await asyncio.Event().wait()
    except OSError as error:
        raise ConfigurationError(
            f"Port {port} cannot be used ({error.strerror}): choose another with --port"
        ) from error
