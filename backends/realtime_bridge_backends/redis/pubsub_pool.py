"""The connections of a feed: one, or on a Cluster one to each node that has a channel of ours."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

from redis.asyncio import RedisCluster
from redis.asyncio.connection import AbstractConnection

from realtime_bridge_backends.redis.client_factory import Client
from realtime_bridge_backends.redis.pubsub_connection import Line


class Lines:
    """Subscribes where each channel is announced; the loss of one connection ends the tasks.

    Args:
        client: whose servers to listen to, and nothing else: what a Cluster's client learns of its
            nodes closes connections that others would be using.
        tasks: what the connections run in.
        hear: takes the payload of each message.

    """

    def __init__(
        self, client: Client, tasks: asyncio.TaskGroup, hear: Callable[[bytes], None]
    ) -> None:
        self._client = client
        self._tasks = tasks
        self._hear = hear
        self._lines: dict[str, Line] = {}

    async def open(self) -> None:
        """Connect; a Cluster is asked which node has which slots.

        Raises:
            RedisError: it cannot be reached.

        """
        if isinstance(self._client, RedisCluster):
            await self._client.initialize()
        else:
            await asyncio.shield(self._line("").opened)

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Subscribe, and wait until that is confirmed.

        Raises:
            RedisError: a node cannot be reached, or is lost meanwhile.

        """
        for channel, names in self._by_node(channels).items():
            await self._line(channel).subscribe(names)

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Unsubscribe."""
        for node, names in self._by_node(channels).items():
            if line := self._lines.get(node):
                await line.unsubscribe(names)

    def _by_node(self, channels: Iterable[str]) -> dict[str, list[str]]:
        if not isinstance(self._client, RedisCluster):
            names = list(channels)
            return {"": names} if names else {}
        nodes: dict[str, list[str]] = defaultdict(list)
        for channel in channels:
            node = self._client.get_node_from_key(channel)
            assert node
            nodes[node.name].append(channel)
        return nodes

    def _line(self, node: str) -> Line:
        line = self._lines.get(node)
        if line is None:
            sharded = isinstance(self._client, RedisCluster)
            line = Line(self._connection(node), sharded=sharded, hear=self._hear)
            self._lines[node] = line
            self._tasks.create_task(line.run())
        return line

    def _connection(self, node: str) -> AbstractConnection:
        if not isinstance(self._client, RedisCluster):
            connection: AbstractConnection = self._client.connection_pool.make_connection()
            return connection
        found = self._client.get_node(node_name=node)
        assert found
        return found.connection_class(**found.connection_kwargs)
