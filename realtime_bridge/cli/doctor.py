"""`realtime-bridge doctor`: each check with its cure."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import orjson
import typer

from realtime_bridge.backend import Finding
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
    if any(finding.verdict == "failed" for finding in findings):
        raise typer.Exit(1)


async def _look(*, quiet: bool) -> Sequence[Finding]:
    from realtime_bridge.cli.diagnosis import diagnose

    findings: list[Finding] = []
    async for finding in diagnose():
        findings.append(finding)
        if not quiet:
            _show(finding)
    return findings


def _show(finding: Finding) -> None:
    people.print(f"{finding.verdict:>7}", style=STYLES[finding.verdict], end="  ")
    people.print(f"{finding.check}: {finding.detail}")
    if finding.cure:
        people.print(f"{'':>7}  → {finding.cure}")
