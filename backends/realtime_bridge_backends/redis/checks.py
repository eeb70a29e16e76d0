"""Checks of a Redis server, for `realtime-bridge doctor`."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from realtime_bridge.backend.component import CheckResult
from realtime_bridge_backends.redis.client_factory import Client
from realtime_bridge_backends.redis.errors import CALL_ERRORS, describe
from realtime_bridge_backends.redis.scripts import ScriptCall, ScriptRunner
from realtime_bridge_backends.redis.timing import RedisTiming

MIN_VERSION, FUNCTIONS_VERSION = (6, 2), (7, 0)
MAX_SKEW_SECONDS = 5.0
MEMORY_WARNING = 0.9


async def run_checks(
    client: Client, server: str, *, keys: Sequence[str], prefix: str, timing: RedisTiming
) -> list[CheckResult]:
    """Return the results; an unreachable server is the only result.

    Args:
        client: the client to use.
        server: the server's name, for messages.
        keys: the keys of a channel for the check alone.
        prefix: the beginning of all keys, for the hint on permissions.
        timing: time limits.

    """
    results: list[CheckResult] = []
    try:
        async with asyncio.timeout(timing.check_seconds):
            info = _first_node(await client.info())
            results += [_check_version(info), _check_persistence(info), *_check_memory(info)]
            results.append(await _check_clock(client))
            results.append(await _check_scripts(client, server, keys, prefix))
    except CALL_ERRORS as error:  # TimeoutError is an OSError
        results.append(_failure("redis", error, server))
    return results


def _failure(check: str, error: Exception, server: str) -> CheckResult:
    detail, hint, _ = describe(error, server)
    return CheckResult(
        check=check, status="failed", detail=detail, hint=hint[:1].upper() + hint[1:]
    )


def _first_node(info: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of one node; a Cluster's client returns those of each, by name."""
    first = next(iter(info.values()))
    return first if isinstance(first, dict) and "redis_version" in first else info


def _check_version(info: dict[str, Any]) -> CheckResult:
    version = str(info["redis_version"])
    numbers = tuple(int(part) for part in version.split(".")[:2])
    check, detail = "redis version", f"{version}, {info.get('redis_mode', 'standalone')}"
    if numbers < MIN_VERSION:
        hint = "Upgrade to Redis 7"
        return CheckResult(check=check, status="failed", detail=detail, hint=hint)
    if numbers < FUNCTIONS_VERSION:
        detail += (
            ": scripts are loaded again after each restart, and a Cluster has no sharded pub/sub"
        )
        return CheckResult(
            check=check, status="warning", detail=detail, hint="Upgrade to Redis 7 when you can"
        )
    return CheckResult(check=check, status="ok", detail=detail)


def _check_persistence(info: dict[str, Any]) -> CheckResult:
    if info.get("aof_enabled"):
        return CheckResult(check="redis persistence", status="ok", detail="append-only file")
    return CheckResult(
        check="redis persistence",
        status="warning",
        detail="no append-only file: a restart loses the events since the last snapshot, and "
        "clients get `reset`",
        hint="Set `appendonly yes` if a restart may lose at most one second",
    )


def _check_memory(info: dict[str, Any]) -> list[CheckResult]:
    check, limit = "redis memory", info.get("maxmemory", 0)
    policy, used = info.get("maxmemory_policy", "?"), info.get("used_memory", 0)
    if not limit:
        detail = f"{used / 2**20:.0f} MiB used, no limit"
        return [CheckResult(check=check, status="ok", detail=detail)]
    detail = f"{used / 2**20:.0f} of {limit / 2**20:.0f} MiB used, maxmemory-policy {policy}"
    if str(policy) != "noeviction":
        return [
            CheckResult(
                check=check,
                status="failed" if str(policy).startswith("allkeys") else "warning",
                detail=f"{detail}: a full Redis evicts the log, and clients get `reset`",
                hint="Set `maxmemory-policy noeviction`, or use a separate Redis for the log",
            )
        ]
    if used > MEMORY_WARNING * limit:
        hint = "Raise maxmemory, or keep less (REALTIME_HISTORY_…)"
        return [CheckResult(check=check, status="warning", detail=detail, hint=hint)]
    return [CheckResult(check=check, status="ok", detail=detail)]


async def _check_scripts(
    client: Client, server: str, keys: Sequence[str], prefix: str
) -> CheckResult:
    scripts = ScriptRunner(client, call_seconds=RedisTiming().call_seconds)
    try:
        (answer,) = await scripts.run([ScriptCall("open", keys, ["doctor00"])])
        if isinstance(answer, ResponseError):
            raise answer
    except NoPermissionError as error:
        return CheckResult(
            check="redis permissions",
            status="failed",
            detail=str(error),
            hint=f"ACL SETUSER … ~{prefix}:* &{prefix}:* +@read +@write +@pubsub +@scripting "
            "+@connection +info +time",
        )
    except CALL_ERRORS as error:
        return _failure("redis scripts", error, server)
    finally:
        await scripts.close()
    detail = "function library" if scripts.mode == "function" else "EVALSHA"
    return CheckResult(check="redis scripts", status="ok", detail=detail)


async def _check_clock(client: Client) -> CheckResult:
    answer = await client.time()
    seconds, microseconds = next(iter(answer.values())) if isinstance(answer, dict) else answer
    skew = time.time() - seconds - microseconds / 1e6
    detail = f"{abs(skew):.1f} s {'behind' if skew > 0 else 'ahead of'} this machine's clock"
    if abs(skew) > MAX_SKEW_SECONDS:
        hint = "Synchronize the clocks of both machines (chrony, systemd-timesyncd)"
        return CheckResult(check="redis clock", status="warning", detail=detail, hint=hint)
    return CheckResult(check="redis clock", status="ok", detail=detail)
