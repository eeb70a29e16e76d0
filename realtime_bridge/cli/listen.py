"""`realtime-bridge listen`: a channel's events on standard output, one JSON object a line."""

import asyncio
import sys
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from realtime_bridge.cli.console import DEFAULT_URL, failing_clearly, people
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.urls import redact
from realtime_bridge.protocol.wire import messages
from realtime_bridge.settings import Settings

if TYPE_CHECKING:
    from realtime_bridge.client import HybridClient
    from realtime_bridge.client.subscription_set import Token
    from realtime_bridge.protocol.client.status import Status


class Transport(StrEnum):
    """The ways to the server."""

    auto = "auto"
    websocket = "websocket"
    poll = "poll"


def listen(
    channel: Annotated[str, typer.Argument(help="What to listen to, like user-42.")],
    url: Annotated[
        str, typer.Option(envvar="REALTIME_WEBSOCKET_URL", help="Where the bridge is mounted.")
    ] = DEFAULT_URL,
    token: Annotated[str | None, typer.Option(help="A token of this server.")] = None,
    user: Annotated[
        str | None, typer.Option(help="Sign a token for this user with REALTIME_SECRET instead.")
    ] = None,
    transport: Annotated[Transport, typer.Option(help="Which way.")] = Transport.auto,
    since: Annotated[
        str | None, typer.Option(metavar="EPOCH:OFFSET", help="Begin after this position.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many events.")] = None,
) -> None:
    """Print each event once and in order, and a reset where there is a hole."""
    from realtime_bridge.client import HybridClient

    position = _position(since)
    with failing_clearly():
        access = _access(url, channel, token, user)
        client = HybridClient(
            url,
            {channel: position},
            token=access,
            transport=transport.value,
            on_status=partial(_report, url),
        )
        asyncio.run(_print_events(client, count))


async def _print_events(client: "HybridClient", count: int | None) -> None:
    async with client:
        channel, start = await client.subscribed()
        people.print(f"listening {channel} {start}")
        printed = 0
        async for item in client:
            if isinstance(item, Event):
                printed += 1
                _print(messages.encode_event(item))
            else:
                where = item.position.to_json() if item.position else {}
                _print(messages.encode("reset", channel=item.channel, reason=item.reason, **where))
            if printed == count:
                return


def _report(url: str, status: "Status") -> None:
    """Say so while nothing is heard of the server."""
    if status.kind in ("connecting", "offline"):
        why = f" ({status.reason})" if status.reason else ""
        people.print(
            f"{status.label.lower()}: nothing from {redact(url)} yet{why}; "
            "does `realtime-bridge serve` run there?"
        )


def _print(line: bytes) -> None:
    sys.stdout.write(f"{line.decode()}\n")
    sys.stdout.flush()


def _position(text: str | None) -> Position | None:
    try:
        return None if text is None else Position.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from error


def _access(url: str, channel: str, token: str | None, user: str | None) -> "Token":
    """Return the given token, or what signs one for the given user whenever it is asked."""
    if token is not None:
        return token
    if user is None:
        raise typer.BadParameter("say who you are: --user USER, or --token TOKEN")
    from realtime_bridge.server.auth.tokens import Tokens

    settings = Settings.load()
    tokens = Tokens(settings.secret_for(url), issuer=settings.prefix)

    async def sign() -> str:
        return tokens.issue(user, channels=[channel])

    return sign
