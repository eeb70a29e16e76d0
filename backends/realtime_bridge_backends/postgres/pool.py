"""Connections of one process to PostgreSQL, for its parallel calls."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg

from realtime_bridge.postgres.connection import Connection
from realtime_bridge_backends.postgres.timing import PostgresTiming

MAX_CONNECTIONS = 8
"""Connections of one process, and so its parallel calls; each is a process of the server."""


class ConnectionPool:
    """Connections that are opened on use, and used again only after a call without a failure.

    psycopg's own pool opens connections in the background. After an outage its next attempt may
    be minutes away, and calls fail although the database runs.

    Args:
        open_connection: opens a connection that is ready for use.
        timing: time limits.

    """

    def __init__(
        self, open_connection: Callable[[], Awaitable[Connection]], timing: PostgresTiming
    ) -> None:
        self._open_connection = open_connection
        self._timing = timing
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._idle: list[tuple[Connection, float]] = []
        """Idle connections with the time of their last use; the last one is used first."""
        self._expiry: asyncio.TimerHandle | None = None
        self._is_closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """Lend a connection; a failure or a cancellation closes it.

        Raises:
            psycopg.Error: no connection could be opened.

        """
        async with self._slots:
            connection = await self._take()
            try:
                yield connection
            finally:
                self._return(connection)

    def close(self) -> None:
        """Close the idle connections at once, and each other one after its call."""
        self._is_closed = True
        self._drop_idle()

    def _drop_idle(self) -> None:
        for connection, _ in self._idle:
            connection.pgconn.finish()
        self._idle.clear()
        if self._expiry:
            self._expiry.cancel()
            self._expiry = None

    async def _take(self) -> Connection:
        while self._idle:
            connection, used_at = self._idle.pop()
            if await self._is_usable(connection, used_at):
                return connection
            # What ended one connection has probably ended the others: a restart, or a firewall.
            connection.pgconn.finish()
            self._drop_idle()
        return await self._open_connection()

    async def _is_usable(self, connection: Connection, used_at: float) -> bool:
        if not connection.is_idle():
            return False
        if self._now() - used_at <= self._timing.idle_seconds:
            return True
        try:
            async with asyncio.timeout(self._timing.check_seconds):
                await connection.execute("SELECT 1")
        except (psycopg.Error, OSError, TimeoutError):
            return False
        return True

    def _return(self, connection: Connection) -> None:
        if not connection.is_idle():
            connection.abandon()
            self._drop_idle()
        elif self._is_closed:
            connection.pgconn.finish()
        else:
            self._idle.append((connection, self._now()))
            self._schedule_expiry()

    def _schedule_expiry(self) -> None:
        if self._expiry is None and self._idle:
            seconds = self._idle[0][1] + self._timing.keep_seconds - self._now()
            self._expiry = asyncio.get_running_loop().call_later(max(seconds, 0), self._expire)

    def _expire(self) -> None:
        self._expiry = None
        while self._idle and self._now() - self._idle[0][1] >= self._timing.keep_seconds:
            self._idle.pop(0)[0].pgconn.finish()
        self._schedule_expiry()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
