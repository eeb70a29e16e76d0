"""Subscription connection to one Redis node, kept alive by PINGs."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from realtime_bridge_backends.redis.timing import RedisTiming

OnMessage = Callable[[bytes, bytes], None]
"""Receives the pub/sub channel and the payload of a message."""

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
        on_message: called with the pub/sub channel and the payload of each message.
        timing: time limits.

    """

    def __init__(
        self,
        connection: AbstractConnection,
        *,
        sharded: bool,
        on_message: OnMessage,
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
        self._confirmation_due = float("inf")
        """Time of the event loop until which the next confirmation has to arrive."""

    async def run(self) -> Exception:
        """Connect, read until the connection is lost, and return the reason.

        Every waiting call gets the reason too.
        """
        reason: Exception = RedisConnectionError("the connection was closed")
        try:
            await self._connection.connect()
            self.opened.set_result(None)
            await self._read()
        except Exception as error:  # uvloop and hiredis have their own classes
            reason = error
        finally:
            for future in (self.opened, *self._unconfirmed.values()):
                if not future.done():
                    future.set_exception(reason)
                    future.exception()  # mark it as retrieved: the waiting task may be gone
            await self._connection.disconnect(nowait=True)
        return reason

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Subscribe to channels, and wait until Redis has confirmed all.

        Raises:
            Exception: the connection is lost.

        """
        await asyncio.shield(self.opened)  # a cancelled call must not cancel it for the others
        names = list(channels)
        loop = asyncio.get_running_loop()
        confirmations = {name.encode(): loop.create_future() for name in names}
        self._unconfirmed |= confirmations
        if self._confirmation_due == float("inf"):
            self._expect_confirmation()
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

    def _expect_confirmation(self) -> None:
        now = asyncio.get_running_loop().time()
        limit = self._timing.confirmation_seconds
        self._confirmation_due = now + limit if self._unconfirmed else float("inf")

    async def _read(self) -> None:
        stream = self._connection._reader  # redis-py has no public way to read raw bytes
        assert stream
        while chunk := await self._next_chunk(stream):
            self._parser.feed(chunk)
            while (reply := self._parser.gets()) is not False:
                self._handle(reply)
            # Messages alone do not show that commands arrive: one direction may be dead.
            if asyncio.get_running_loop().time() > self._confirmation_due:
                limit = self._timing.confirmation_seconds
                raise RedisConnectionError(f"no confirmation of a subscription within {limit:g} s")
        raise RedisConnectionError("Redis closed the connection")

    async def _next_chunk(self, stream: asyncio.StreamReader) -> bytes:
        """Return received bytes; after a silence, ask for some with a PING."""
        try:
            async with asyncio.timeout(self._timing.ping_seconds):
                return await stream.read(READ_BYTES)
        except TimeoutError:
            pass
        try:
            async with asyncio.timeout(self._timing.pong_seconds):
                await self._connection.send_command("PING", check_health=False)
                return await stream.read(READ_BYTES)
        except TimeoutError:
            raise RedisConnectionError(f"no PONG within {self._timing.pong_seconds:g} s") from None

    def _handle(self, reply: Any) -> None:
        if not isinstance(reply, list):
            raise ResponseError(str(reply))
        kind = reply[0]
        if kind in (b"message", b"smessage"):
            self._on_message(reply[1], reply[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            confirmation = self._unconfirmed.pop(reply[1], None)
            self._expect_confirmation()
            if confirmation and not confirmation.done():  # the waiting call may be cancelled
                confirmation.set_result(None)
        elif kind == b"pong":
            pass  # its arrival alone shows that the connection works
        elif reply[1] in self._unsubscribing:
            self._unsubscribing.discard(reply[1])
        else:  # an SUNSUBSCRIBE that the node sent by itself
            raise RedisConnectionError("the channel's slot has moved to another node")
