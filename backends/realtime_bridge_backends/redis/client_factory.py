"""Creation of a redis-py client: for one server, a Sentinel's master, or a Cluster."""

from collections.abc import Callable
from typing import Any, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from realtime_bridge.errors import ConfigurationError
from realtime_bridge_backends.redis.timing import RedisTiming

Client: TypeAlias = "Redis | RedisCluster"

MAX_CONNECTIONS = 32
"""Connections of one client, and so its parallel calls."""

PORT, SENTINEL_PORT = 6379, 26379

_TLS = {"redis": False, "rediss": True}

_RETRIED: Any = (RedisConnectionError, RedisTimeoutError, RuntimeError)
"""Errors after which redis-py connects again. uvloop raises RuntimeError for a write to a
connection that was reset while it was idle: after an outage, to each one of the pool."""


def create_client(url: str, timing: RedisTiming) -> Client:
    """Return a client that is not connected yet.

    `redis://`, `rediss://` (TLS) and `unix://` are as redis-py has them. `redis+cluster://` and
    `rediss+cluster://` name some nodes of a cluster, `redis+sentinel://HOST:PORT,…/SERVICE/DB` the
    sentinels of a service. User and password stand before the hosts.

    Raises:
        ConfigurationError: the URL has another form.

    """
    scheme, _, kind = urlsplit(url).scheme.partition("+")
    create = _FACTORIES.get(kind)
    if create is None or scheme not in (*_TLS, "unix"):
        # Without the value: it may hold a password.
        raise ConfigurationError(
            "REALTIME_REDIS_URL is not an address of Redis: write redis://HOST:6379/0, "
            "redis+cluster://HOST:PORT,HOST:PORT or redis+sentinel://HOST:PORT,HOST:PORT/SERVICE"
        )
    try:
        return create(url, urlsplit(url), _options(scheme, timing))
    except ValueError as error:
        raise ConfigurationError(f"REALTIME_REDIS_URL is malformed: {error}") from None


async def close_client(client: Client) -> None:
    """Close the client, and its connections to Sentinels."""
    await client.aclose()
    pool = None if isinstance(client, RedisCluster) else client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        await pool.sentinel_manager.aclose()  # redis-py leaves these open


def _options(scheme: str, timing: RedisTiming) -> dict[str, Any]:
    tls = {"ssl": True} if _TLS.get(scheme) else {}
    return {
        "protocol": 2,  # PubSubConnection parses RESP2
        "socket_connect_timeout": timing.connect_seconds,
        "socket_timeout": timing.call_seconds,
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.05), 2, _RETRIED),
        "max_connections": MAX_CONNECTIONS,
        **tls,
    }


def _create_single(url: str, _: SplitResult, options: dict[str, Any]) -> Client:
    options.pop("ssl", None)  # redis-py takes it from the scheme, and rejects it as an option
    client: Redis = Redis.from_url(url, **options)
    return client


def _create_cluster(_: str, parts: SplitResult, options: dict[str, Any]) -> Client:
    nodes = [ClusterNode(host, port) for host, port in _hosts(parts, PORT)]
    return RedisCluster(startup_nodes=nodes, **_credentials(parts), **options)


def _create_sentinel(_: str, parts: SplitResult, options: dict[str, Any]) -> Client:
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("add the service after the sentinels: …/SERVICE")
    timeouts = {name: options[name] for name in ("socket_connect_timeout", "socket_timeout")}
    sentinel = Sentinel(_hosts(parts, SENTINEL_PORT), sentinel_kwargs=timeouts)
    master: Redis = sentinel.master_for(service, db=int(db or 0), **_credentials(parts), **options)
    return master


def _hosts(parts: SplitResult, port: int) -> list[tuple[str, int]]:
    split = [urlsplit(f"//{host}") for host in parts.netloc.rpartition("@")[2].split(",")]
    hosts = [(host.hostname, host.port or port) for host in split]
    if not all(host for host, _ in hosts):
        raise ValueError("name at least one host")
    return [(host or "", number) for host, number in hosts]


def _credentials(parts: SplitResult) -> dict[str, Any]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    credentials = {"username": unquote(user), "password": unquote(password)}
    return {name: text for name, text in credentials.items() if text}


_FACTORIES: dict[str, Callable[[str, SplitResult, dict[str, Any]], Client]] = {
    "": _create_single,
    "cluster": _create_cluster,
    "sentinel": _create_sentinel,
}
"""Factories by the part of the scheme after `+`."""
