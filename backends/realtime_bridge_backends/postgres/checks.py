"""Checks of a PostgreSQL server and of the log's schema, for `realtime-bridge doctor`."""

import asyncio
import time
from collections.abc import AsyncIterator

import psycopg
from psycopg.sql import SQL, Identifier

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.postgres.connection import Connection, connect
from realtime_bridge.postgres.errors import describe
from realtime_bridge.postgres.schema import VERSION
from realtime_bridge.postgres.url_variable import url_variable
from realtime_bridge.postgres.watch_status import status_query, to_status

MIN_VERSION = 130_000
"""PostgreSQL 13 is the first with xid8 and pg_current_snapshot()."""

CHECK_SECONDS = 8.0
"""Longest duration of all checks; the wait for a notification is a part of it."""

MAX_SKEW_SECONDS = 5.0
NOTIFY_SECONDS = 2.0
CONNECTIONS_WARNING = 0.8

FACTS = """
SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),
    extract(epoch FROM clock_timestamp())::float8, current_setting('synchronous_commit'),
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
    current_setting('max_connections')::int, current_setting('server_encoding')
"""


async def run_checks(url: str, prefix: str, server: str) -> list[CheckResult]:
    """Return the results; an unreachable server is the only result."""
    try:
        async with asyncio.timeout(CHECK_SECONDS), await connect(url) as connection:
            return [result async for result in _results(connection, url, prefix, server)]
    except (psycopg.Error, OSError) as error:  # TimeoutError is an OSError
        detail, hint = describe(error, server)
        return [CheckResult(check="postgres", status="failed", detail=detail, hint=hint)]


async def _results(
    connection: Connection, url: str, prefix: str, server: str
) -> AsyncIterator[CheckResult]:
    facts = await (await connection.execute(FACTS)).fetchone()
    assert facts
    version, standby, clock, synchronous_commit, used, limit, encoding = facts
    yield _check_version(version, standby=standby)
    yield _check_encoding(encoding)
    yield _check_clock(clock)
    yield _check_connections(used, limit)
    yield _check_synchronous_commit(synchronous_commit)
    schema = await _check_schema(connection, prefix, server)
    yield schema
    if schema.status == "ok":
        yield await _check_relay(connection, prefix)
        for result in await _check_watches(connection, prefix):
            yield result
    yield await _check_notifications(connection, url, prefix)


def _check_version(number: int, *, standby: bool) -> CheckResult:
    check, detail = "postgres version", f"{number // 10_000}.{number % 10_000}"
    if standby:
        variable = url_variable()
        hint = f"Name the primary in {variable} (target_session_attrs=read-write)"
        return CheckResult(check=check, status="failed", detail=f"{detail}, a standby", hint=hint)
    if number < MIN_VERSION:
        return CheckResult(
            check=check, status="failed", detail=detail, hint="Upgrade to PostgreSQL 13 or later"
        )
    return CheckResult(check=check, status="ok", detail=detail)


def _check_encoding(encoding: str) -> CheckResult:
    check = "postgres encoding"
    if encoding != "UTF8":
        hint = "Create a database with ENCODING 'UTF8' for the log"
        return CheckResult(check=check, status="failed", detail=encoding, hint=hint)
    return CheckResult(check=check, status="ok", detail=encoding)


def _check_clock(clock: float) -> CheckResult:
    skew = time.time() - clock
    detail = f"{abs(skew):.1f} s {'behind' if skew > 0 else 'ahead of'} this machine's clock"
    if abs(skew) > MAX_SKEW_SECONDS:
        hint = "Synchronize the clocks of both machines (chrony, systemd-timesyncd)"
        return CheckResult(check="postgres clock", status="warning", detail=detail, hint=hint)
    return CheckResult(check="postgres clock", status="ok", detail=detail)


def _check_connections(used: int, limit: int) -> CheckResult:
    # 8 connections of the pool, 1 of the listener
    detail = f"{used} of {limit} in use; each process uses up to 9"
    if used > CONNECTIONS_WARNING * limit:
        hint = "Raise max_connections, or connect publishers through PgBouncer"
        return CheckResult(check="postgres connections", status="warning", detail=detail, hint=hint)
    return CheckResult(check="postgres connections", status="ok", detail=detail)


def _check_synchronous_commit(value: str) -> CheckResult:
    check = "postgres synchronous_commit"
    if value == "off":
        return CheckResult(
            check=check,
            status="warning",
            detail="off: a crash may lose the last events, and clients get `reset`",
            hint="Set synchronous_commit = on if a crash must lose nothing",
        )
    return CheckResult(check=check, status="ok", detail=value)


async def _check_schema(connection: Connection, prefix: str, server: str) -> CheckResult:
    check = "postgres schema"
    hint = "Run `realtime-bridge postgres install`"
    version_query = SQL("SELECT version FROM {}.settings").format(Identifier(prefix))
    function_call = SQL("SELECT * FROM {}.positions('{{}}')").format(Identifier(prefix))
    try:
        row = await (await connection.execute(version_query)).fetchone()
        await connection.execute(function_call)
    except psycopg.Error as error:
        detail, fix = describe(error, server)
        return CheckResult(check=check, status="failed", detail=detail, hint=fix or hint)
    version = row[0] if row else None
    if version != VERSION:
        detail = f"{prefix} has version {version}, this program needs {VERSION}"
        return CheckResult(check=check, status="failed", detail=detail, hint=hint)
    return CheckResult(check=check, status="ok", detail=f"{prefix}, version {version}")


async def _check_relay(connection: Connection, prefix: str) -> CheckResult:
    """Report events that wait for a relay while none is active: the log keeps them all."""
    query = SQL(
        "SELECT (SELECT count(*) FROM {}.relay_queue), "
        "NOT pg_try_advisory_xact_lock(hashtext(%s), hashtext('relay'))"
    ).format(Identifier(prefix))
    count, active = await (await connection.execute(query, [prefix])).fetchone() or (0, False)
    detail = f"{count:,} events wait, {'a' if active else 'no'} relay is active"
    if count and not active:
        hint = "Start `realtime-bridge relay`, or disable it with `relay --discard-pending`"
        return CheckResult(check="postgres relay", status="warning", detail=detail, hint=hint)
    return CheckResult(check="postgres relay", status="ok", detail=detail)


async def _check_watches(connection: Connection, prefix: str) -> list[CheckResult]:
    """Report watches whose triggers are missing or odd, as after a restore of a dump."""
    statuses = [to_status(row) async for row in await connection.execute(status_query(prefix))]
    problems = [(status.table, status.problem) for status in statuses if status.problem]
    if not problems:
        detail = f"{len(statuses)} tables, all with their triggers"
        return [CheckResult(check="postgres watches", status="ok", detail=detail)]
    results = []
    for table, problem in problems:
        detail, _, hint = problem.partition(": ")
        results.append(
            CheckResult(
                check="postgres watches",
                status="warning",
                detail=f"{table}: {detail}",
                hint=hint[:1].upper() + hint[1:],
            )
        )
    return results


async def _check_notifications(connection: Connection, url: str, prefix: str) -> CheckResult:
    """Send a notification to this connection from another one.

    A pooler in transaction mode loses it. A notification of the connection itself would arrive,
    as the pooler lends both transactions the same session of the server.
    """
    check = "postgres LISTEN"
    await connection.execute(SQL("LISTEN {}").format(Identifier(prefix)))
    async with await connect(url) as sender:
        await sender.execute("SELECT pg_notify(%s, '')", [prefix])
    async for _ in connection.notifies(timeout=NOTIFY_SECONDS, stop_after=1):
        return CheckResult(check=check, status="ok", detail="notifications arrive")
    return CheckResult(
        check=check,
        status="failed",
        detail="a notification did not arrive on the listening connection",
        hint="PgBouncer in transaction mode loses LISTEN: for servers name the database itself, or "
        f"a pool in session mode, in {url_variable()}. Publishers may use it",
    )
