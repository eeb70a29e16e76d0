"""One subscription connection: what is announced comes in, and PINGs prove that it still can."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

PING_SECONDS, PONG_SECONDS = 10.0, 5.0
"""A half-open subscription stays silent for ever (redis-py#2417, kombu#2590): so we ask."""

CHUNK_BYTES = 262_144
SUBSCRIBED_AT_ONCE = 1_000


class Line:
    """Reads replies in large pieces: one by one, redis-py takes ten times as long.

    Args:
        connection: one of redis-py's, not connected yet, that speaks RESP2.
        sharded: it is of a Cluster: channels have slots, and their commands an S before them.
        hear: takes the payload of each message.

    """

    def __init__(
        self, connection: AbstractConnection, *, sharded: bool, hear: Callable[[bytes], None]
    ) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._shard = "S" if sharded else ""
        self._hear = hear
        self._replies = hiredis.Reader()
        self._confirming: dict[bytes, asyncio.Future[None]] = {}
        self._leaving: set[bytes] = set()
        self._pong = asyncio.Event()

    async def run(self) -> None:
        """Connect, then read until the connection is lost; whoever waits for it learns why.

        Raises:
            RedisError: it could not be made, or is lost.

        """
        try:
            await self._connection.connect()
            self.opened.set_result(None)
            await asyncio.gather(self._read(), self._ping())
        except (RedisError, OSError) as error:
            for waiting in (self.opened, *self._confirming.values()):
                if not waiting.done():
                    waiting.set_exception(error)
                    waiting.exception()
            raise
        finally:
            await self._connection.disconnect(nowait=True)

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Subscribe, and wait until all are confirmed.

        Raises:
            RedisError: the connection is lost.

        """
        await asyncio.shield(self.opened)
        names = list(channels)
        loop = asyncio.get_running_loop()
        waiting = {name.encode(): loop.create_future() for name in names}
        self._confirming |= waiting
        await self._command("SUBSCRIBE", names)
        await asyncio.gather(*waiting.values())

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Unsubscribe; nobody waits for that."""
        names = list(channels)
        self._leaving.update(name.encode() for name in names)
        await self._command("UNSUBSCRIBE", names)

    async def _command(self, command: str, names: list[str]) -> None:
        for start in range(0, len(names), SUBSCRIBED_AT_ONCE):
            some = names[start : start + SUBSCRIBED_AT_ONCE]
            # A command of the Cluster may name channels of one slot alone.
            parts = [[name] for name in some] if self._shard else [some]
            packed = [
                piece
                for part in parts
                for piece in self._connection.pack_command(self._shard + command, *part)
            ]
            await self._connection.send_packed_command(packed, check_health=False)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            self._pong.clear()
            await self._connection.send_command("PING", check_health=False)
            try:
                async with asyncio.timeout(PONG_SECONDS):
                    await self._pong.wait()
            except TimeoutError:
                raise RedisConnectionError(f"no PONG within {PONG_SECONDS:g} s") from None

    async def _read(self) -> None:
        stream = self._connection._reader
        assert stream
        while chunk := await stream.read(CHUNK_BYTES):
            self._replies.feed(chunk)
            while (reply := self._replies.gets()) is not False:
                self._take(reply)
        raise RedisConnectionError("Redis closed the connection")

    def _take(self, reply: Any) -> None:
        if not isinstance(reply, list):
            raise ResponseError(str(reply))
        kind = reply[0]
        if kind in (b"message", b"smessage"):
            self._hear(reply[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            if confirming := self._confirming.pop(reply[1], None):
                confirming.set_result(None)
        elif kind == b"pong":
            self._pong.set()
        elif reply[1] in self._leaving:
            self._leaving.discard(reply[1])
        else:
            raise RedisConnectionError("the channel's slot has moved to another node")
