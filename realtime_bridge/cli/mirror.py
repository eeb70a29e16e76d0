"""`realtime-bridge mirror …`: the mirror of what is published."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from realtime_bridge.cli.console import exit_on_error, visible
from realtime_bridge.cli.settings import load_settings
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.protocol.publishing.mirror_counts import MirrorCounts, total

app: typer.Typer = typer.Typer(
    no_args_is_help=True, help="Compare the log with its mirror (REALTIME_MIRROR)."
)


@app.callback()
def _about() -> None:
    """Keep `report` a command of its own: typer would run the only one without its name."""


@app.command()
def report(
    *, json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False
) -> None:
    """Print what publishers mirrored, how late, and what the mirror's provider does not have."""
    with exit_on_error():
        totals = total(asyncio.run(_read()))
        if json:
            typer.echo(msgspec.json.encode(totals).decode())
            return
        if not totals:
            typer.echo("No publisher has reported: set REALTIME_MIRROR for them, and publish")
        for counts in totals.values():
            typer.echo("\n".join(map(visible, _lines(counts))))


async def _read() -> list[MirrorCounts]:
    from realtime_bridge.publishing.mirror import read_reports
    from realtime_bridge.publishing.pipeline import worker_pipeline

    log = worker_pipeline(load_settings()).log
    if log is None:
        raise ConfigurationError(
            "Publishers report about a mirror in the log, and there is none: set REALTIME_LOG"
        )
    async with log:
        return await read_reports(log)


def _lines(counts: MirrorCounts) -> list[str]:
    since = datetime.fromtimestamp(counts.started, UTC).isoformat(" ", "seconds")
    delays = [counts.delay(share) for share in (0.5, 0.95, 1.0)]
    median, most, longest = (f"{bound:,} ms" if bound else "-" for bound in delays)
    return [
        f"mirror {counts.backend}, since {since}",
        f"  published {counts.published:>12,}",
        f"  mirrored  {counts.mirrored:>12,}",
        f"  failed    {counts.failed:>12,}",
        f"  dropped   {counts.dropped:>12,}",
        f"  waiting   {counts.waiting:>12,}",
        f"  delay     half within {median}, 95 % within {most}, all within {longest}",
        *(
            f"  missing   {one.event} on {one.channel}, id {one.id}: {one.reason}"
            for one in counts.missing
        ),
    ]
