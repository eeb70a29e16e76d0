"""Whether a Redis is there, and set up as a log needs it: what `doctor` reports."""

import time
from collections.abc import AsyncIterator
from typing import Any

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from realtime_bridge.backend.component import CheckResult
from realtime_bridge_backends.redis.client_factory import Client
from realtime_bridge_backends.redis.errors import explained
from realtime_bridge_backends.redis.scripts import Call, Operations

OLDEST, FUNCTIONS = (6, 2), (7, 0)
SKEW_SECONDS = 5.0
NEARLY_FULL = 0.9


async def run_checks(client: Client, where: str, *, prefix: str) -> list[CheckResult]:
    """Return what was found; a server that cannot be reached is the only finding then."""
    try:
        information = _merged(await client.info())
    except (RedisError, OSError) as error:
        return [CheckResult(check="redis", status="failed", detail=str(explained(error, where)))]
    findings = [_version(information), _persistence(information), *_memory(information)]
    findings += [finding async for finding in _checked(client, where, prefix)]
    return findings


def _merged(information: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of one node: a Cluster answers with those of each."""
    first = next(iter(information.values()))
    return first if isinstance(first, dict) and "redis_version" in first else information


def _version(information: dict[str, Any]) -> CheckResult:
    version = str(information["redis_version"])
    numbers = tuple(int(part) for part in version.split(".")[:2])
    check, detail = "redis version", f"{version}, {information.get('redis_mode', 'standalone')}"
    if numbers < OLDEST:
        cure = "Upgrade to Redis 7"
        return CheckResult(check=check, status="failed", detail=detail, hint=cure)
    if numbers < FUNCTIONS:
        detail += ": scripts are sent anew after each restart, and a Cluster has no sharded pub/sub"
        return CheckResult(
            check=check, status="warning", detail=detail, hint="Upgrade to Redis 7 when you can"
        )
    return CheckResult(check=check, status="ok", detail=detail)


def _persistence(information: dict[str, Any]) -> CheckResult:
    if information.get("aof_enabled"):
        return CheckResult(check="redis persistence", status="ok", detail="append-only file")
    return CheckResult(
        check="redis persistence",
        status="warning",
        detail="no append-only file: a restart loses what came since the last snapshot, and "
        "clients get `reset`",
        hint="Set `appendonly yes`, if a restart shall lose less than a second",
    )


def _memory(information: dict[str, Any]) -> list[CheckResult]:
    check, limit = "redis memory", information.get("maxmemory", 0)
    policy, used = information.get("maxmemory_policy", "?"), information.get("used_memory", 0)
    if not limit:
        detail = f"{used / 2**20:.0f} MiB used, no limit"
        return [CheckResult(check=check, status="ok", detail=detail)]
    detail = f"{used / 2**20:.0f} of {limit / 2**20:.0f} MiB used, maxmemory-policy {policy}"
    if str(policy) != "noeviction":
        return [
            CheckResult(
                check=check,
                status="failed" if str(policy).startswith("allkeys") else "warning",
                detail=f"{detail}: when it is full, Redis evicts the log, and clients get `reset`",
                hint="Set `maxmemory-policy noeviction`, or give the log a Redis of its own",
            )
        ]
    if used > NEARLY_FULL * limit:
        cure = "Raise maxmemory, or keep less (REALTIME_HISTORY_…)"
        return [CheckResult(check=check, status="warning", detail=detail, hint=cure)]
    return [CheckResult(check=check, status="ok", detail=detail)]


async def _checked(client: Client, where: str, prefix: str) -> AsyncIterator[CheckResult]:
    yield await _clock(client)
    operations = Operations(client)
    keys = [f"{prefix}:{{doctor}}:{part}" for part in ("meta", "events", "ids", "latest", "order")]
    try:
        (answer,) = await operations.run([Call("position", keys, ["doctor00"])])
        if isinstance(answer, ResponseError):
            raise answer
    except NoPermissionError as error:
        yield CheckResult(
            check="redis permissions",
            status="failed",
            detail=str(error),
            hint=f"ACL SETUSER … ~{prefix}:* &{prefix}:* +@read +@write +@pubsub +@scripting "
            "+@connection +info +time",
        )
    except (RedisError, OSError) as error:
        detail = str(explained(error, where))
        yield CheckResult(check="redis scripts", status="failed", detail=detail)
    else:
        detail = "function library" if operations.way == "function" else "EVALSHA"
        yield CheckResult(check="redis scripts", status="ok", detail=detail)


async def _clock(client: Client) -> CheckResult:
    answer = await client.time()
    seconds, microseconds = next(iter(answer.values())) if isinstance(answer, dict) else answer
    skew = time.time() - seconds - microseconds / 1e6
    detail = f"{abs(skew):.1f} s {'behind' if skew > 0 else 'before'} this machine's"
    if abs(skew) > SKEW_SECONDS:
        cure = "Let both machines keep time (chrony, systemd-timesyncd)"
        return CheckResult(check="redis clock", status="warning", detail=detail, hint=cure)
    return CheckResult(check="redis clock", status="ok", detail=detail)
