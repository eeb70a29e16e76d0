"""Subscription connections of a feed: one, or on a Cluster one per node with a used channel."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from redis.asyncio import RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge_backends.redis.client_factory import Client
from realtime_bridge_backends.redis.pubsub_connection import OnMessage, PubSubConnection
from realtime_bridge_backends.redis.timing import RedisTiming


class PubSubPool:
    """Subscriptions on the nodes of their channels; one lost connection is the loss of all.

    Args:
        client: a client for this pool alone. When a Cluster's client learns of new nodes, it
            closes connections, and other users would lose theirs.
        tasks: owner of the connections' tasks.
        on_message: called with the pub/sub channel and the payload of each message.
        timing: time limits.

    """

    def __init__(
        self,
        client: Client,
        tasks: Supervisor,
        on_message: OnMessage,
        *,
        timing: RedisTiming,
    ) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when a connection has ended, with the reason as its exception."""
        self._client = client
        self._tasks = tasks
        self._on_message = on_message
        self._timing = timing
        self._connections: dict[str, PubSubConnection] = {}
        """Connections by node; the key is "" without a Cluster."""

    async def open(self) -> None:
        """Connect, or ask a Cluster for the nodes of its slots.

        Raises:
            RedisError: the server cannot be reached.

        """
        if isinstance(self._client, RedisCluster):
            await self._client.initialize()
        else:
            await asyncio.shield(self._connection("").opened)

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Subscribe to channels, and wait for the confirmations.

        Raises:
            RedisError: a node cannot be reached, or its connection is lost.

        """
        for node, names in self._by_node(channels).items():
            await self._connection(node).subscribe(names)

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Unsubscribe from channels."""
        for node, names in self._by_node(channels).items():
            if connection := self._connections.get(node):
                await connection.unsubscribe(names)

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

    def _connection(self, node: str) -> PubSubConnection:
        connection = self._connections.get(node)
        if connection is None:
            connection = PubSubConnection(
                self._create(node),
                sharded=isinstance(self._client, RedisCluster),
                on_message=self._on_message,
                timing=self._timing,
            )
            self._connections[node] = connection
            running = self._tasks.spawn("Redis subscriptions", connection.run())
            running.add_done_callback(self._record_loss)
        return connection

    def _record_loss(self, running: "asyncio.Task[Exception]") -> None:
        if not self.lost.done():
            # A cancellation that the owner did not ask for is a lost connection too.
            cancelled = RedisConnectionError("the connection's task was cancelled")
            self.lost.set_exception(cancelled if running.cancelled() else running.result())
            self.lost.exception()  # mark it as retrieved: opening may have failed first

    def _create(self, node: str) -> AbstractConnection:
        if not isinstance(self._client, RedisCluster):
            connection: AbstractConnection = self._client.connection_pool.make_connection()
            return connection
        cluster_node = self._client.get_node(node_name=node)
        assert cluster_node
        return cluster_node.connection_class(**cluster_node.connection_kwargs)
