"""Command `realtime-bridge listen`: a channel's events as JSON lines on standard output."""

import asyncio
import re
import sys
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from realtime_bridge.cli.console import DEFAULT_URL, exit_on_error, stderr
from realtime_bridge.cli.settings import load_settings
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.urls import redact
from realtime_bridge.protocol.client.credentials import TOKEN_REFUSALS
from realtime_bridge.protocol.client.timing import Timing
from realtime_bridge.protocol.wire import messages

if TYPE_CHECKING:
    from realtime_bridge.client import HybridClient
    from realtime_bridge.client.descriptor import Token
    from realtime_bridge.protocol.client.status import Status


_CONTROL = re.compile("[\x7f-\x9f]")


class Transport(StrEnum):
    """Transport of a client."""

    auto = "auto"
    websocket = "websocket"
    sse = "sse"
    poll = "poll"


def listen(
    channel: Annotated[str, typer.Argument(help="Name of the channel, such as user-42.")],
    url: Annotated[
        str, typer.Option(envvar="REALTIME_WEBSOCKET_URL", help="URL of the bridge.")
    ] = DEFAULT_URL,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="REALTIME_TOKEN",
            help="Token of this server; - reads it from standard input. As an argument, other "
            "users of this machine see it.",
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="User to sign a token for with REALTIME_SECRET.")
    ] = None,
    transport: Annotated[
        Transport,
        typer.Option(help="Transport; auto: WebSocket or provider. While it fails, polls."),
    ] = Transport.auto,
    since: Annotated[
        str | None, typer.Option(metavar="EPOCH:OFFSET", help="Position to resume from.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Number of events to print.")] = None,
) -> None:
    """Print each event once and in order, and a reset where events are missing."""
    from realtime_bridge.client import DeniedError, HybridClient

    position = _position(since)
    with exit_on_error():
        access = _access(url, channel, token, user)
        client = HybridClient(
            url,
            {channel: position},
            token=access,
            transport=transport.value,
            on_status=partial(_report, url),
            # A person waits for the result, and no session is renewed meanwhile.
            timing=Timing(denial_patience=0),
        )
        try:
            asyncio.run(_print_events(client, count))
        except DeniedError as error:
            if TOKEN_REFUSALS["token_unknown_key"] in str(error):
                raise DeniedError(f"{error}: give both the same REALTIME_SECRET") from error
            raise


async def _print_events(client: "HybridClient", count: int | None) -> None:
    from realtime_bridge.client import ChannelDenied, DeniedError

    async with client:
        channel, start = await client.wait_subscribed()
        stderr.print(f"listening {channel} {start}")
        printed = 0
        async for item in client:
            if isinstance(item, Event):
                printed += 1
                _print(messages.encode_event(item))
            elif isinstance(item, ChannelDenied):
                raise DeniedError(f"{item.channel}: {item.message}")
            else:
                fields = {"channel": item.channel, "reason": item.reason}
                position = item.position.to_json() if item.position else {}
                _print(messages.encode("reset", **fields, **position))
            if printed == count:
                return


def _report(url: str, status: "Status") -> None:
    """Report a server that does not answer, or whose events arrive late."""
    if status.kind in ("connecting", "offline"):
        reason = f" ({status.reason})" if status.reason else ""
        stderr.print(
            f"{status.label.lower()}: no answer from {redact(url)}{reason}; "
            "check that `realtime-bridge serve` runs there"
        )
    elif status.kind == "delayed":
        stderr.print(f"delayed: events from {redact(url)} arrive late ({status.reason})")


def _print(line: bytes) -> None:
    # JSON escapes the control characters below the space alone; a terminal obeys others too.
    sys.stdout.write(_CONTROL.sub(lambda one: f"\\u{ord(one[0]):04x}", line.decode()) + "\n")
    sys.stdout.flush()


def _position(text: str | None) -> Position | None:
    try:
        return None if text is None else Position.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from error


def _access(url: str, channel: str, token: str | None, user: str | None) -> "Token":
    """Return the given token, or a function that signs one for the given user."""
    if token == "-":  # noqa: S105 -- the usual name of standard input
        return sys.stdin.readline().strip()
    if token is not None:
        return token
    if user is None:
        raise typer.BadParameter("no credentials; add --user USER or --token TOKEN")
    from realtime_bridge.server.auth.tokens import Tokens

    settings = load_settings()
    tokens = Tokens(settings.secret_for(url), issuer=settings.prefix)

    async def sign() -> str:
        return tokens.issue(user, channels=[channel])

    return sign
