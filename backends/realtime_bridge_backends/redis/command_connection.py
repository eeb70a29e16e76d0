"""Connection to one Redis that takes the commands of all callers, without waits in between."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelManagedConnection
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ReadOnlyError

from realtime_bridge_backends.redis.client_factory import RETRIED

Argument = str | bytes | int
Command = tuple[Argument, ...]


class CommandConnection:
    """Connection that opens with the first command, and again after a loss.

    redis-py opens it: with TLS, user and database, or to a Sentinel's master. Its own way of a
    command passes forty functions. Commands whose connection is lost are sent again, so each must
    allow that, as those of the log's script do.

    Args:
        create: creates a connection of redis-py for RESP2, not connected yet.
        silence: seconds without an answer after which a cancelled call ends the connection.

    """

    def __init__(self, create: Callable[[], AbstractConnection], *, silence: float) -> None:
        self._create = create
        self._silence = silence
        self._retry = Retry(ExponentialBackoff(cap=0.5, base=0.05), 1, RETRIED)
        self._connection: AbstractConnection | None = None
        self._replies: _Replies | None = None
        self._opening: asyncio.Future[None] | None = None

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands, and return their answers; that of a failed command is its exception.

        Raises:
            RedisError: the connection cannot be opened, or was lost again and again.

        """
        # hiredis declares a tuple of one.
        pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]
        packed, count = b"".join(map(pack, commands)), len(commands)
        try:
            return await self._send(packed, count)
        except RETRIED:
            again: Any = await self._retry.call_with_retry(
                lambda: self._send(packed, count), _continue
            )
            return list(again)

    async def close(self) -> None:
        """Close the connection."""
        replies, self._replies = self._replies, None
        if replies:
            replies.lose(RedisConnectionError("the connection was closed"))
            await asyncio.sleep(0)  # the transport closes its socket in the next turn
        await self._disconnect()

    async def _send(self, packed: bytes, count: int) -> list[Any]:
        replies = self._replies
        if replies is None or replies.is_lost:
            replies = await self._open()
        answers = await replies.request(packed, count)
        for answer in answers:
            if isinstance(answer, RedisConnectionError):  # Redis is loading, for example
                raise answer
            if isinstance(answer, ReadOnlyError) and self._is_of_sentinel():
                demoted = RedisConnectionError("the master is a replica now")
                replies.lose(demoted)
                raise demoted
        return answers

    async def _open(self) -> "_Replies":
        """Open the connection; calls at the same time wait for the first of them."""
        if self._opening is not None:
            await asyncio.shield(self._opening)
        else:
            await self._open_first()
        if self._replies is None:
            raise RedisConnectionError("the connection was closed")
        return self._replies

    async def _open_first(self) -> None:
        self._opening = opening = asyncio.get_running_loop().create_future()
        try:
            await self._disconnect()
            self._connection = connection = self._create()
            await connection.connect()
            self._replies = _Replies(connection, self._silence)
            opening.set_result(None)
        except BaseException as error:
            is_own = isinstance(error, Exception)
            opening.set_exception(error if is_own else RedisConnectionError("opening was ended"))
            opening.exception()  # mark it as retrieved: perhaps no other call waits
            raise
        finally:
            self._opening = None

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*RETRIED):
                await connection.disconnect(nowait=True)

    def _is_of_sentinel(self) -> bool:
        return isinstance(self._connection, SentinelManagedConnection)


class _Replies(asyncio.Protocol):
    """Requests on an open connection that wait for their answers, which come in order."""

    def __init__(self, connection: AbstractConnection, silence: float) -> None:
        self.is_lost = False
        self._silence = silence
        self._loop = asyncio.get_running_loop()
        self._received_at = 0.0
        self._waiting: deque[_Request] = deque()
        self._unsent: list[bytes] = []
        """Commands of this turn of the event loop that are sent at its end."""
        self._parser = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=connection._parser.parse_error,
        )
        writer = connection._writer  # redis-py has no public way to its transport
        assert writer
        self._transport: Any = writer.transport
        self._transport.set_protocol(self)

    async def request(self, packed: bytes, count: int) -> list[Any]:
        """Send packed commands, and return their answers."""
        if asyncio.get_running_loop() is not self._loop:
            self.lose(RedisConnectionError("the connection is of another event loop"))
            raise RedisConnectionError("the connection was of another event loop")
        request = _Request(count, self._loop.create_future(), self._loop.time())
        is_first = not self._waiting
        self._waiting.append(request)
        try:
            if is_first:
                self._transport.write(packed)
            else:  # one write for the commands of all callers costs a third of one for each
                if not self._unsent:
                    self._loop.call_soon(self._send_rest)
                self._unsent.append(packed)
            return await request.done
        except asyncio.CancelledError:
            # By a time limit: all later calls would wait on a half-open connection. A caller that
            # gives up earlier, as a browser that leaves, must not cost the others their answers.
            if self._loop.time() - max(request.sent_at, self._received_at) >= self._silence:
                self.lose(RedisConnectionError("another call on the connection got no answer"))
            raise
        except RuntimeError as error:  # uvloop's, for a write after a reset
            self.lose(RedisConnectionError(f"the connection is lost: {error}"))
            raise

    def _send_rest(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self.is_lost:
            return
        try:
            self._transport.write(b"".join(unsent))
        except RuntimeError as error:
            self.lose(RedisConnectionError(f"the connection is lost: {error}"))

    def data_received(self, data: bytes) -> None:
        """Give each request its answers; one that was cancelled is left out."""
        self._received_at = self._loop.time()
        self._parser.feed(data)
        try:
            while (answer := self._parser.gets()) is not False:
                request = self._waiting[0]
                request.answers.append(answer)
                if len(request.answers) == request.count:
                    self._waiting.popleft()
                    if not request.done.done():
                        request.done.set_result(request.answers)
        except (InvalidResponse, IndexError) as error:
            self.lose(RedisConnectionError(f"the server sent something else: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        """End all requests."""
        self.lose(RedisConnectionError(f"Connection lost: {str(error or '') or 'Redis closed it'}"))

    def lose(self, error: RedisConnectionError) -> None:
        """Close the connection, and end all requests with an error."""
        if self.is_lost:
            return
        self.is_lost = True
        with suppress(RuntimeError):  # its event loop may be closed
            self._transport.abort()
        for request in self._waiting:
            if not request.done.done():
                request.done.set_exception(error)
        self._waiting.clear()


class _Request:
    """Commands that were sent together, and their answers so far."""

    __slots__ = ("answers", "count", "done", "sent_at")

    def __init__(self, count: int, done: "asyncio.Future[list[Any]]", sent_at: float) -> None:
        self.count = count
        self.done = done
        self.sent_at = sent_at
        self.answers: list[Any] = []


async def _continue(error: Exception) -> None:
    """Do nothing between two attempts."""
