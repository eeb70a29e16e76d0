"""Subscription connection to one Redis node, kept alive by PINGs."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from realtime_bridge_backends.redis.timing import RedisTiming

READ_BYTES = 262_144
COMMAND_CHANNELS = 1_000
"""The most channels of one SUBSCRIBE, so that no command occupies Redis for long."""


class PubSubConnection:
    """Subscriptions on one connection, with confirmations.

    It reads large chunks and parses them with hiredis: redis-py's own PubSub reads reply by reply
    and takes ten times as long.

    Args:
        connection: one of redis-py's for RESP2, not connected yet.
        sharded: whether the node is of a Cluster. Its channels have slots, and its commands are
            SSUBSCRIBE and SUNSUBSCRIBE.
        on_message: called with the payload of each message.
        timing: time limits.

    """

    def __init__(
        self,
        connection: AbstractConnection,
        *,
        sharded: bool,
        on_message: Callable[[bytes], None],
        timing: RedisTiming,
    ) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once connected; it has the exception if connecting failed."""
        self._connection = connection
        self._sharded = sharded
        self._on_message = on_message
        self._timing = timing
        self._parser = hiredis.Reader()
        self._unconfirmed: dict[bytes, asyncio.Future[None]] = {}
        self._unsubscribing: set[bytes] = set()
        self._pong = asyncio.Event()

    async def run(self) -> None:
        """Connect, then read until the connection is lost; every waiting call gets the reason.

        Raises:
            RedisError: the connection failed or was lost.

        """
        try:
            await self._connection.connect()
            self.opened.set_result(None)
            await asyncio.gather(self._read(), self._ping())
        except (RedisError, OSError) as error:
            for future in (self.opened, *self._unconfirmed.values()):
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # mark it as retrieved: the waiting task may be gone
            raise
        finally:
            await self._connection.disconnect(nowait=True)

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Subscribe to channels, and wait until Redis has confirmed all.

        Raises:
            RedisError: the connection is lost.

        """
        await asyncio.shield(self.opened)  # a cancelled call must not cancel it for the others
        names = list(channels)
        loop = asyncio.get_running_loop()
        confirmations = {name.encode(): loop.create_future() for name in names}
        self._unconfirmed |= confirmations
        await self._send("SUBSCRIBE", names)
        await asyncio.gather(*confirmations.values())

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Unsubscribe from channels, without waiting for the confirmation."""
        names = list(channels)
        self._unsubscribing.update(name.encode() for name in names)
        await self._send("UNSUBSCRIBE", names)

    async def _send(self, command: str, names: list[str]) -> None:
        for start in range(0, len(names), COMMAND_CHANNELS):
            chunk = names[start : start + COMMAND_CHANNELS]
            # On a Cluster, the channels of one command must have the same slot.
            commands = [[name] for name in chunk] if self._sharded else [chunk]
            prefix = "S" if self._sharded else ""
            packed = [
                piece
                for arguments in commands
                for piece in self._connection.pack_command(prefix + command, *arguments)
            ]
            # No health check: it would read the reply that `_read` waits for.
            await self._connection.send_packed_command(packed, check_health=False)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(self._timing.ping_seconds)
            self._pong.clear()
            await self._connection.send_command("PING", check_health=False)
            try:
                async with asyncio.timeout(self._timing.pong_seconds):
                    await self._pong.wait()
            except TimeoutError:
                raise RedisConnectionError(
                    f"no PONG within {self._timing.pong_seconds:g} s"
                ) from None

    async def _read(self) -> None:
        stream = self._connection._reader  # redis-py has no public way to read raw bytes
        assert stream
        while chunk := await stream.read(READ_BYTES):
            self._parser.feed(chunk)
            while (reply := self._parser.gets()) is not False:
                self._handle(reply)
        raise RedisConnectionError("Redis closed the connection")

    def _handle(self, reply: Any) -> None:
        if not isinstance(reply, list):
            raise ResponseError(str(reply))
        kind = reply[0]
        if kind in (b"message", b"smessage"):
            self._on_message(reply[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            if confirmation := self._unconfirmed.pop(reply[1], None):
                confirmation.set_result(None)
        elif kind == b"pong":
            self._pong.set()
        elif reply[1] in self._unsubscribing:
            self._unsubscribing.discard(reply[1])
        else:  # an SUNSUBSCRIBE that the node sent by itself
            raise RedisConnectionError("the channel's slot has moved to another node")
