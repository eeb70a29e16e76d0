"""Command `doctor`: checks of the configuration, each with a hint."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import orjson
import typer
from msgspec.structs import asdict

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.cli.console import stderr

STYLES = {"ok": "green", "warning": "yellow", "failed": "red"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Check that this configuration can publish and deliver; exit with 1 if it cannot."""
    results = asyncio.run(_collect(quiet=as_json))
    if as_json:
        typer.echo(orjson.dumps([asdict(result) for result in results]).decode())
    if any(result.status == "failed" for result in results):
        raise typer.Exit(1)


async def _collect(*, quiet: bool) -> Sequence[CheckResult]:
    from realtime_bridge.cli.checks import run_checks

    results: list[CheckResult] = []
    async for result in run_checks():
        results.append(result)
        if not quiet:
            _show(result)
    return results


def _show(result: CheckResult) -> None:
    stderr.print(f"{result.status:>7}", style=STYLES[result.status], end="  ")
    stderr.print(f"{result.check}: {result.detail}")
    if result.hint:
        stderr.print(f"{'':>7}  → {result.hint}")
