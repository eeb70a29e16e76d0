"""`realtime-bridge relay`: from PostgreSQL's outbox to the configured backend."""

import asyncio
import signal
from typing import Annotated

import typer

from realtime_bridge.cli.console import failing_clearly, people
from realtime_bridge.cli.postgres import connected
from realtime_bridge.errors import BackendNotInstalledError
from realtime_bridge.model.urls import redact
from realtime_bridge.settings import Settings


def relay(
    end: Annotated[
        bool, typer.Option("--end", help="No relay any more: what waits for one is let go.")
    ] = False,
) -> None:
    """Carry what triggers and transactions wrote to REALTIME_BACKEND; of several, one works."""
    with failing_clearly():
        if end:
            _end()
        else:
            asyncio.run(_relay())


def _end() -> None:
    with connected(None) as connection:
        from realtime_bridge.postgres.relay import end

        count = end(connection, Settings.load().prefix)
    people.print(f"no relay any more: {count:,} events waited for one")


async def _relay() -> None:
    try:
        from realtime_bridge.postgres.relay import Relay, State
    except ModuleNotFoundError as error:
        missing = error.name or "psycopg"
        raise BackendNotInstalledError("postgres", missing=missing, extra="postgres") from error
    from realtime_bridge.postgres.settings import PostgresSettings
    from realtime_bridge.publishing.broadcaster import Broadcaster

    settings = Settings.load()
    url = PostgresSettings.required()
    target = Broadcaster.from_settings(settings)
    where = f"from {redact(url)} to {target.backend or target.log}"

    def report(state: State) -> None:
        people.print(f"carrying {where}" if state == "working" else f"waiting {where}")

    carrying = Relay(url, settings.prefix, target, on_change=report)
    async with target:
        running = asyncio.create_task(carrying.run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, running.cancel)
        await asyncio.wait([running])
        if not running.cancelled():
            running.result()
