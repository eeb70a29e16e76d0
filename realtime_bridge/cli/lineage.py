"""Comparison of a log's lineage with that of the server, for `realtime-bridge doctor`."""

import asyncio
import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.plugins import BUILT_IN, import_object
from realtime_bridge.model.urls import redact

ANSWER_SECONDS = 2.0

CHECK = "same log as the server"


async def compare_with_server(lineage: str) -> CheckResult:
    """Compare a log with that of the server at `REALTIME_WEBSOCKET_URL`, if one answers there."""
    settings = BUILT_IN["websocket"].settings
    assert settings
    url = import_object(settings).load().url.rstrip("/")
    if url.startswith("ws"):
        url = f"http{url[2:]}"
    try:
        report = await asyncio.to_thread(_report, f"{url}/health")
    except (OSError, ValueError) as error:  # URLError and TimeoutError are OSErrors
        reason = error.code if isinstance(error, HTTPError) else "no answer"
        detail = f"lineage {lineage}; not compared with {redact(url)} ({reason})"
        hint = "Start the server, and set REALTIME_WEBSOCKET_URL to its address, to compare"
        return CheckResult(check=CHECK, status="ok", detail=detail, hint=hint)
    return compare(lineage, report, redact(url))


def compare(lineage: str, report: dict[str, Any], server: str) -> CheckResult:
    """Return the result for the server's report of its health.

    Args:
        lineage: the lineage of this process's log.
        report: the answer of `GET health`.
        server: the server's address, for the message.

    """
    theirs = report.get("lineage")
    if theirs == lineage:
        return CheckResult(check=CHECK, status="ok", detail=f"lineage {lineage}")
    other = f"lineage {theirs}" if theirs else str(report.get("log", "another log"))
    return CheckResult(
        check=CHECK,
        status="warning",
        detail=f"lineage {lineage}; the server at {server} has {other}",
        hint="Give both the same REALTIME_SQLITE_PATH on one machine; on another machine unset it "
        "for workers, which then call the server",
    )


def _report(url: str) -> dict[str, Any]:
    with urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 -- the user's own address
        report = json.load(answer)
    if not isinstance(report, dict):
        raise ValueError("another program answers there")  # noqa: TRY004 -- caught with bad JSON
    return report
