"""Command `token`: a client token for trials."""

from typing import Annotated

import typer

from realtime_bridge.cli.console import DEFAULT_URL, exit_on_error
from realtime_bridge.cli.settings import load_settings


def token(
    user: Annotated[str, typer.Argument(help="User id of the token.")],
    channel: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Channel to grant, like 'job.*'; repeatable."),
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Channel whose streams and jobs the user may control; repeatable.",
        ),
    ] = None,
    seconds: Annotated[
        int | None, typer.Option(min=1, help="Lifetime in seconds; default 600.")
    ] = None,
    url: Annotated[
        str, typer.Option(envvar="REALTIME_WEBSOCKET_URL", help="URL of the server.")
    ] = DEFAULT_URL,
) -> None:
    """Print a token, signed with REALTIME_SECRET (on this machine, the development secret)."""
    with exit_on_error():
        from realtime_bridge.server.auth.tokens import TOKEN_SECONDS, Tokens

        settings = load_settings()
        tokens = Tokens(settings.secret_for(url), issuer=settings.prefix)
        granted = tokens.issue(
            user, channels=channel or (), controls=control or (), seconds=seconds or TOKEN_SECONDS
        )
        typer.echo(granted)
