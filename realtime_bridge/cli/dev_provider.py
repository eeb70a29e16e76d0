"""Command `dev-provider`: a hosted provider on this machine, without an account."""

import asyncio
from typing import Annotated

import typer

from realtime_bridge.cli.console import exit_on_error, stderr
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.testing.providers import PROVIDERS, local_provider

PORT = 6001
"""Default port of soketi and Reverb, the self-hosted Pusher servers."""


Share = Annotated[float, typer.Option(min=0, max=1, help="Share of events affected, 0 to 1.")]


def dev_provider(
    name: Annotated[str, typer.Argument(metavar="|".join(PROVIDERS), help="Provider to imitate.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = PORT,
    lose: Share = 0.0,
    duplicate: Share = 0.0,
    reorder: Share = 0.0,
) -> None:
    """Run a local stand-in for a hosted provider, and print the variables that select it."""
    with exit_on_error():
        if name not in PROVIDERS:
            raise ConfigurationError(
                f"Unknown provider {name!r}: choose one of {', '.join(PROVIDERS)}"
            )
        asyncio.run(_serve(name, port, lose=lose, duplicate=duplicate, reorder=reorder))


async def _serve(name: str, port: int, **shares: float) -> None:
    try:
        async with local_provider(name, port=port) as provider:
            for fault, share in shares.items():
                setattr(provider.faults, fault, share)
            stderr.print(f"a local {name} runs; in the server's and the workers' shells:")
            for variable, value in provider.environment.items():
                typer.echo(f"export {variable}={value}")
            await asyncio.Event().wait()
    except OSError as error:
        raise ConfigurationError(
            f"Port {port} cannot be used ({error.strerror}): choose another with --port"
        ) from error
