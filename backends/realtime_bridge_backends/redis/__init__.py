"""Redis: log and feed on one server, a Sentinel's master, or a Cluster."""

from realtime_bridge_backends.redis.backend import RedisBackend, RedisSettings

__all__ = ["RedisBackend", "RedisSettings"]
