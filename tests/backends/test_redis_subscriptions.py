"""Subscription connection to Redis, with the answers of a server that does not exist."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime_bridge_backends.redis import RedisTiming
from realtime_bridge_backends.redis.pubsub_connection import PubSubConnection

MESSAGE = b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n1\r\n"
CONFIRMATION = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"
OVERDUE = RedisTiming(confirmation_seconds=-1)
"""A confirmation that is not read at once is late."""


class Answering:
    """redis-py's connection to a server that answers each command with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self._reader = asyncio.StreamReader()
        self._answer = answer

    async def connect(self) -> None:
        """Do nothing."""

    def pack_command(self, *arguments: str) -> Sequence[bytes]:
        return [" ".join(arguments).encode()]

    async def send_packed_command(self, packed: Sequence[bytes], *, check_health: bool) -> None:
        assert (packed, check_health) == ([b"SUBSCRIBE b"], False)
        self._reader.feed_data(self._answer)

    async def disconnect(self, *, nowait: bool) -> None:
        assert nowait

    def close(self) -> None:
        self._reader.feed_eof()


def connection_to(server: Answering, received: list[bytes]) -> PubSubConnection:
    return PubSubConnection(
        cast("AbstractConnection", server),
        sharded=False,
        on_message=lambda _, payload: received.append(payload),
        timing=OVERDUE,
    )


async def test_connection_with_events_and_without_confirmation_is_lost() -> None:
    received: list[bytes] = []
    connection = connection_to(Answering(MESSAGE), received)
    running = asyncio.create_task(connection.run())
    with pytest.raises(RedisConnectionError, match="no confirmation of a subscription"):
        await connection.subscribe(["b"])
    assert isinstance(await running, RedisConnectionError)
    assert received == [b"1"]


async def test_confirmation_between_events_keeps_the_connection() -> None:
    received: list[bytes] = []
    server = Answering(MESSAGE + CONFIRMATION + MESSAGE)
    connection = connection_to(server, received)
    running = asyncio.create_task(connection.run())
    await connection.subscribe(["b"])
    server.close()
    assert "Redis closed the connection" in str(await running)
    assert received == [b"1", b"1"]
