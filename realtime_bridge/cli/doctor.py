"""`realtime-bridge doctor`: each check with its cure."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import orjson
import typer

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.cli.console import people

STYLES = {"ok": "green", "warning": "yellow", "failed": "red"}


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the findings on standard output.")
    ] = False,
) -> None:
    """Look whether this configuration can publish and be heard; exit 1 when it cannot."""
    findings = asyncio.run(_look(quiet=as_json))
    if as_json:
        typer.echo(orjson.dumps([asdict(finding) for finding in findings]).decode())
    if any(finding.status == "failed" for finding in findings):
        raise typer.Exit(1)


async def _look(*, quiet: bool) -> Sequence[CheckResult]:
    from realtime_bridge.cli.checks import run_checks

    findings: list[CheckResult] = []
    async for finding in run_checks():
        findings.append(finding)
        if not quiet:
            _show(finding)
    return findings


def _show(finding: CheckResult) -> None:
    people.print(f"{finding.status:>7}", style=STYLES[finding.status], end="  ")
    people.print(f"{finding.check}: {finding.detail}")
    if finding.hint:
        people.print(f"{'':>7}  → {finding.hint}")
