"""A client for an address: of one Redis, of a Sentinel's master, or of a Cluster."""

from collections.abc import Callable
from typing import Any, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import ExponentialBackoff

from realtime_bridge.errors import ConfigurationError

Client: TypeAlias = "Redis | RedisCluster"

CONNECT_SECONDS = 2.0
CALL_SECONDS = 4.0
"""Below the broadcaster's own limit, so that it hears why."""

AT_ONCE = 32
"""Connections, and so calls at once, per client."""

PORT, SENTINEL_PORT = 6379, 26379

_CLEAR = {"redis": False, "rediss": True}


def client_for(url: str) -> Client:
    """Make the client; nothing is connected yet.

    `redis://`, `rediss://` (TLS) and `unix://` are as redis-py has them. `redis+cluster://` and
    `rediss+cluster://` name some nodes of a cluster, `redis+sentinel://HOST:PORT,…/SERVICE/DB` the
    sentinels of a service. User and password stand before the hosts.

    Raises:
        ConfigurationError: it is no such address.

    """
    scheme, _, kind = urlsplit(url).scheme.partition("+")
    make = _MAKERS.get(kind)
    if make is None or scheme not in (*_CLEAR, "unix"):
        raise ConfigurationError(
            "REALTIME_REDIS_URL is no address of Redis: write redis://HOST:6379/0, "
            "redis+cluster://HOST:PORT,HOST:PORT or redis+sentinel://HOST:PORT,HOST:PORT/SERVICE"
        )
    try:
        return make(url, urlsplit(url), _options(scheme))
    except ValueError as error:
        raise ConfigurationError(f"REALTIME_REDIS_URL is malformed: {error}") from None


async def close(client: Client) -> None:
    """Close the client, and what it asks who the master is."""
    await client.aclose()
    pool = None if isinstance(client, RedisCluster) else client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        await pool.sentinel_manager.aclose()


def shown(url: str) -> str:
    """Return the address without user and password, fit for a message."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _options(scheme: str) -> dict[str, Any]:
    tls = {"ssl": True} if _CLEAR.get(scheme) else {}
    return {
        "protocol": 2,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": CALL_SECONDS,
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
        "max_connections": AT_ONCE,
        **tls,
    }


def _one(url: str, _: SplitResult, options: dict[str, Any]) -> Client:
    options.pop("ssl", None)  # the scheme says so to redis-py
    client: Redis = Redis.from_url(url, **options)
    return client


def _cluster(_: str, parts: SplitResult, options: dict[str, Any]) -> Client:
    nodes = [ClusterNode(host, port) for host, port in _hosts(parts, PORT)]
    return RedisCluster(startup_nodes=nodes, **_credentials(parts), **options)


def _sentinel(_: str, parts: SplitResult, options: dict[str, Any]) -> Client:
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("name the service after the sentinels: …/SERVICE")
    timeouts = {name: options[name] for name in ("socket_connect_timeout", "socket_timeout")}
    sentinel = Sentinel(_hosts(parts, SENTINEL_PORT), sentinel_kwargs=timeouts)
    master: Redis = sentinel.master_for(service, db=int(db or 0), **_credentials(parts), **options)
    return master


def _hosts(parts: SplitResult, port: int) -> list[tuple[str, int]]:
    named = [urlsplit(f"//{host}") for host in parts.netloc.rpartition("@")[2].split(",")]
    hosts = [(host.hostname, host.port or port) for host in named]
    if not all(host for host, _ in hosts):
        raise ValueError("name at least one host")
    return [(host or "", number) for host, number in hosts]


def _credentials(parts: SplitResult) -> dict[str, Any]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    given = {"username": unquote(user), "password": unquote(password)}
    return {name: text for name, text in given.items() if text}


_MAKERS: dict[str, Callable[[str, SplitResult, dict[str, Any]], Client]] = {
    "": _one,
    "cluster": _cluster,
    "sentinel": _sentinel,
}
