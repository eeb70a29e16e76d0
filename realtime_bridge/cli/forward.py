"""`realtime-bridge forward`: copies what an earlier log still receives to the configured log."""

import asyncio
import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from dotenv import dotenv_values

from realtime_bridge.cli.console import exit_on_error, stderr
from realtime_bridge.cli.settings import load_settings
from realtime_bridge.cli.stop_signals import call_on_stop
from realtime_bridge.errors import ConfigurationError, PublishError

if TYPE_CHECKING:
    from realtime_bridge.backend.listable_log import ListableLog
    from realtime_bridge.publishing.log_forwarder import LogForwarder
    from realtime_bridge.settings import Settings

PASS_SECONDS = 0.5
"""Wait between two passes, and so about the delay of a forwarded event."""

REPORT_SECONDS = 60.0
"""Interval of the reports."""


def forward(
    earlier: Annotated[
        Path,
        typer.Argument(
            metavar="OLD_ENV",
            exists=True,
            dir_okay=False,
            help="File with the earlier values of the variables that change, one NAME=VALUE a line",
        ),
    ],
) -> None:
    """Copy what is published to the earlier log to the configured one, during a change of logs."""
    with exit_on_error():
        asyncio.run(_forward(earlier))


async def _forward(earlier: Path) -> None:
    from realtime_bridge.publishing.broadcaster import Broadcaster
    from realtime_bridge.publishing.log_forwarder import LogForwarder

    settings = load_settings()
    target, source = Broadcaster.from_settings(settings), _earlier_log(earlier, settings)
    if target.log is None:
        raise ConfigurationError(
            "Events are forwarded to a log, and there is none: set REALTIME_LOG"
        )
    stop = asyncio.Event()
    call_on_stop(stop.set)
    async with source, target:
        forwarder = LogForwarder(source, target, target.log)
        await _run(forwarder, f"from {source} to {target.log}", stop)


async def _run(forwarder: "LogForwarder", route: str, stop: asyncio.Event) -> None:
    """Copy until the stop; a pass that has begun is completed."""
    await _copy(forwarder, stop)
    if not stop.is_set():
        stderr.print(f"forwarding {route}")
    count, since = 0, time.monotonic()
    while not stop.is_set():
        await _pause(stop)
        count += await _copy(forwarder, stop)
        if time.monotonic() - since >= REPORT_SECONDS:
            stderr.print(_report(count))
            count, since = 0, time.monotonic()


def _report(count: int) -> str:
    if count:
        return f"forwarded {count:,} events in a minute: something still publishes to the old log"
    return "forwarded no event in a minute: stop this command if all servers and workers moved"


async def _copy(forwarder: "LogForwarder", stop: asyncio.Event) -> int:
    """Copy once; wait for a log that is unavailable."""
    is_waiting = False
    while not stop.is_set():
        try:
            count = await forwarder.copy()
        except PublishError as error:
            if not error.retryable:
                raise
            if not is_waiting:
                stderr.print(f"waiting: {error}")
            is_waiting = True
            await _pause(stop)
        else:
            if is_waiting:
                stderr.print("forwarding again")
            return count
    return 0


async def _pause(stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(PASS_SECONDS):
            await stop.wait()


def _earlier_log(file: Path, settings: "Settings") -> "ListableLog":
    """Return the log that the earlier values of the variables describe.

    Raises:
        ConfigurationError: the values cannot work, or change nothing.

    """
    from realtime_bridge.backend.listable_log import ListableLog
    from realtime_bridge.publishing.pipeline import server_pipeline
    from realtime_bridge.settings import Settings

    current = server_pipeline(settings).log
    with _environment(dotenv_values(file)):
        earlier = Settings.load()
        log = server_pipeline(earlier).log
    if not isinstance(log, ListableLog) or log.in_process:
        raise ConfigurationError(
            f"{log or 'no log'} cannot be forwarded, since it ends with its server: "
            "restart the servers, and pages get a reset"
        )
    if (str(log), earlier.prefix) == (str(current), settings.prefix):
        raise ConfigurationError(
            f"{file} names {log} with REALTIME_PREFIX={earlier.prefix}, which is the configured "
            "log: write the values from before the change"
        )
    return log


@contextmanager
def _environment(values: Mapping[str, str | None]) -> Generator[None]:
    """Set environment variables, and restore the earlier ones; backends read them at creation."""
    before = dict(os.environ)
    os.environ.update({name: value or "" for name, value in values.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
