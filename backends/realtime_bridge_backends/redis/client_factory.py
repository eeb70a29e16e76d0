"""Creation of a redis-py client: for one server, a Sentinel's master, or a Cluster."""

from typing import Any, TypeAlias

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from realtime_bridge_backends.redis.address import RedisAddress, parse_address
from realtime_bridge_backends.redis.timing import RedisTiming

Client: TypeAlias = "Redis | RedisCluster"

MAX_CONNECTIONS = 32
"""Connections of one client, and so its parallel calls."""

RETRIED: Any = (RedisConnectionError, RedisTimeoutError, RuntimeError)
"""Errors after which redis-py connects again. uvloop raises RuntimeError for a write to a
connection that was reset while it was idle: after an outage, to each one of the pool."""


def create_client(url: str, timing: RedisTiming) -> Client:
    """Return a client that is not connected yet.

    `redis://`, `rediss://` (TLS) and `unix://` are as redis-py has them. `redis+cluster://` and
    `rediss+cluster://` name some nodes of a cluster, `redis+sentinel://HOST:PORT,…/SERVICE/DB` the
    sentinels of a service. User and password stand before the hosts, options in the query.

    Raises:
        ConfigurationError: the URL has another form.

    """
    address = parse_address(url)
    timeouts = {
        "socket_connect_timeout": timing.connect_seconds,
        "socket_timeout": timing.call_seconds,
    }
    options = {
        "protocol": 2,  # PubSubConnection parses RESP2
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.05), 2, RETRIED),
        "max_connections": MAX_CONNECTIONS,
        **timeouts,
        **address.options,
    }
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        return RedisCluster(startup_nodes=nodes, **options)
    if address.kind == "sentinel":
        return _create_sentinel(address, options, timeouts)
    if address.path:
        return Redis(unix_socket_path=address.path, **options)
    ((host, port),) = address.hosts
    return Redis(host=host or "localhost", port=port, **options)


async def close_client(client: Client) -> None:
    """Close the client, and its connections to Sentinels."""
    await client.aclose()
    pool = None if isinstance(client, RedisCluster) else client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:  # redis-py leaves these open
            await sentinel.aclose()


def _create_sentinel(
    address: RedisAddress, options: dict[str, Any], timeouts: dict[str, float]
) -> Redis:
    sentinel_options = {**timeouts, **address.sentinel_options}
    sentinel = Sentinel(address.hosts, sentinel_kwargs=sentinel_options)
    master: Redis = sentinel.master_for(address.service, **options)
    return master
