"""Commands on a Cluster, which redis-py sends to the nodes of their keys."""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from realtime_bridge_backends.redis.client_factory import MAX_CONNECTIONS
from realtime_bridge_backends.redis.command_connection import Command


class ClusterCommands:
    """Commands of the log's script on the nodes of a Cluster.

    Args:
        client: client of the Cluster.

    """

    def __init__(self, client: RedisCluster) -> None:
        self._client = client
        # redis-py raises when its pool has no free connection; a semaphore waits. A scan needs one.
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS - 1)

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands, and return their answers; that of a failed command is its exception."""
        async with self._slots:
            return await self._send(commands)

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        if len(commands) == 1:
            try:
                return [await self._client.execute_command(*commands[0])]
            except ResponseError as error:
                return [error]
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    async def load(self, script: str) -> None:
        """Load a script on all nodes."""
        await self._client.script_load(script)
