"""Whether a PostgreSQL is there, and set up as a log needs it: what `doctor` reports."""

import time
from collections.abc import AsyncIterator
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.postgres.schema import VERSION
from realtime_bridge_backends.postgres.errors import explained

OLDEST = 130_000
SKEW_SECONDS = 5.0
WAKE_SECONDS = 2.0
ROOM = 0.8

FACTS = """
SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),
    extract(epoch FROM clock_timestamp())::float8, current_setting('synchronous_commit'),
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
    current_setting('max_connections')::int
"""


async def run_checks(url: str, prefix: str, where: str) -> list[CheckResult]:
    """Return what was found; a server that cannot be reached is the only finding then."""
    try:
        options: dict[str, Any] = {"autocommit": True, "connect_timeout": 2}
        async with await AsyncConnection.connect(url, **options) as connection:
            return [finding async for finding in _look(connection, prefix, where)]
    except (psycopg.Error, OSError) as error:
        return [CheckResult(check="postgres", status="failed", detail=str(explained(error, where)))]


async def _look(
    connection: AsyncConnection[Any], prefix: str, where: str
) -> AsyncIterator[CheckResult]:
    facts = await (await connection.execute(FACTS)).fetchone()
    assert facts
    version, standby, clock, synchronous, used, most = facts
    yield _version(version, standby=standby)
    yield _clock(clock)
    yield _room(used, most)
    yield _durable(synchronous)
    schema = await _schema(connection, prefix, where)
    yield schema
    if schema.status == "ok":
        yield await _relay(connection, prefix)
    yield await _wakes(connection, prefix)


def _version(number: int, *, standby: bool) -> CheckResult:
    check, detail = "postgres version", f"{number // 10_000}.{number % 10_000}"
    if standby:
        cure = "Let REALTIME_POSTGRES_URL name the primary (target_session_attrs=read-write)"
        return CheckResult(check=check, status="failed", detail=f"{detail}, a standby", hint=cure)
    if number < OLDEST:
        return CheckResult(
            check=check, status="failed", detail=detail, hint="Upgrade to PostgreSQL 13 or later"
        )
    return CheckResult(check=check, status="ok", detail=detail)


def _clock(clock: float) -> CheckResult:
    skew = time.time() - clock
    detail = f"{abs(skew):.1f} s {'behind' if skew > 0 else 'before'} this machine's"
    if abs(skew) > SKEW_SECONDS:
        cure = "Let both machines keep time (chrony, systemd-timesyncd)"
        return CheckResult(check="postgres clock", status="warning", detail=detail, hint=cure)
    return CheckResult(check="postgres clock", status="ok", detail=detail)


def _room(used: int, most: int) -> CheckResult:
    detail = f"{used} of {most} in use; each process takes up to 9"
    if used > ROOM * most:
        cure = "Raise max_connections, or put PgBouncer before the publishers"
        return CheckResult(check="postgres connections", status="warning", detail=detail, hint=cure)
    return CheckResult(check="postgres connections", status="ok", detail=detail)


def _durable(synchronous: str) -> CheckResult:
    check = "postgres synchronous_commit"
    if synchronous == "off":
        return CheckResult(
            check=check,
            status="warning",
            detail="off: a crash may lose the last events, and clients get `reset`",
            hint="Set synchronous_commit = on, if a crash shall lose nothing",
        )
    return CheckResult(check=check, status="ok", detail=synchronous)


async def _schema(connection: AsyncConnection[Any], prefix: str, where: str) -> CheckResult:
    check = "postgres schema"
    cure = "Run `realtime-bridge postgres install`"
    asked = SQL("SELECT version FROM {}.settings").format(Identifier(prefix))
    tried = SQL("SELECT * FROM {}.positions('{{}}')").format(Identifier(prefix))
    try:
        row = await (await connection.execute(asked)).fetchone()
        await connection.execute(tried)
    except psycopg.Error as error:
        detail = str(explained(error, where))
        return CheckResult(check=check, status="failed", detail=detail, hint=cure)
    version = row[0] if row else None
    if version != VERSION:
        detail = f"{prefix} has version {version}, this program knows {VERSION}"
        return CheckResult(check=check, status="failed", detail=detail, hint=cure)
    return CheckResult(check=check, status="ok", detail=f"{prefix}, version {version}")


async def _relay(connection: AsyncConnection[Any], prefix: str) -> CheckResult:
    """Look whether events wait for a relay where none works: they are kept for as long."""
    asked = SQL(
        "SELECT (SELECT count(*) FROM {}.uncarried), "
        "NOT pg_try_advisory_xact_lock(hashtext(%s), hashtext('relay'))"
    ).format(Identifier(prefix))
    waiting, works = await (await connection.execute(asked, [prefix])).fetchone() or (0, False)
    detail = f"{waiting:,} events wait for one, and {'one' if works else 'none'} works"
    if waiting and not works:
        cure = "Start `realtime-bridge relay`; or `relay --end`, if there is to be none any more"
        return CheckResult(check="postgres relay", status="warning", detail=detail, hint=cure)
    return CheckResult(check="postgres relay", status="ok", detail=detail)


async def _wakes(connection: AsyncConnection[Any], prefix: str) -> CheckResult:
    """Notify ourselves: through a pooler in transaction mode, that does not arrive."""
    check = "postgres LISTEN"
    await connection.execute(SQL("LISTEN {}").format(Identifier(prefix)))
    await connection.execute("SELECT pg_notify(%s, '')", [prefix])
    async for _ in connection.notifies(timeout=WAKE_SECONDS, stop_after=1):
        return CheckResult(check=check, status="ok", detail="wakes this connection")
    return CheckResult(
        check=check,
        status="failed",
        detail="a notification did not arrive on the connection that listens",
        hint="PgBouncer in transaction mode loses LISTEN: let REALTIME_POSTGRES_URL name the "
        "database itself, or a pool in session mode",
    )
