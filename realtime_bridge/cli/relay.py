"""`realtime-bridge relay`: relays events from PostgreSQL's outbox to the configured backend."""

import asyncio
from typing import Annotated

import typer

from realtime_bridge.cli.console import exit_on_error, stderr
from realtime_bridge.cli.postgres import connect
from realtime_bridge.cli.settings import load_settings
from realtime_bridge.cli.stop_signals import call_on_stop
from realtime_bridge.errors import BackendNotInstalledError


def relay(
    discard_pending: Annotated[
        bool,
        typer.Option(
            "--discard-pending", help="Disable the relay, discard the events that wait, and exit."
        ),
    ] = False,
) -> None:
    """Relay events of triggers and transactions to REALTIME_BACKEND; of several, one works."""
    with exit_on_error():
        if discard_pending:
            _discard_pending()
        else:
            asyncio.run(_relay())


def _discard_pending() -> None:
    with connect(None) as connection:
        from realtime_bridge.postgres.relay import discard_pending

        count = discard_pending(connection, load_settings().prefix)
    stderr.print(f"relay disabled: {count:,} events discarded")


async def _relay() -> None:
    try:
        from realtime_bridge.postgres.relay import Relay, RelayState
    except ModuleNotFoundError as error:
        missing = error.name or "psycopg"
        raise BackendNotInstalledError("postgres", missing=missing, extra="postgres") from error
    from realtime_bridge.postgres.address import server_name
    from realtime_bridge.postgres.settings import PostgresSettings
    from realtime_bridge.publishing.broadcaster import Broadcaster

    settings = load_settings()
    url = PostgresSettings.required_url()
    target = Broadcaster.from_settings(settings)
    route = f"from {server_name(url)} to {target.backend or target.log}"

    def report(state: RelayState) -> None:
        stderr.print(f"{'relaying' if state == 'active' else 'waiting to relay'} {route}")

    async with target:
        task = asyncio.create_task(Relay(url, settings.prefix, target, on_change=report).run())
        call_on_stop(task.cancel)
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
