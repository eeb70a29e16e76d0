"""Connections to PostgreSQL on which every wait can end at a deadline."""

import asyncio
from typing import Any, ClassVar, TypeVar

import psycopg
from psycopg import AsyncConnection, capabilities, generators, waiting
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGcancelConn

from realtime_bridge.backend.supervisor import Supervisor

_Value = TypeVar("_Value")

CHECK_SECONDS = 1.0
"""Seconds between two wake-ups of a wait; the event loop ends a cancelled wait before."""

CANCEL_SECONDS = 2.0
"""Longest attempt to cancel an abandoned statement on the server."""

# The kernel reports a dead peer 20 s after the last answer (10, then twice 5), and one that
# acknowledges nothing after 10 s.
NETWORK_OPTIONS: dict[str, int] = {
    "connect_timeout": 2,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
}
"""Limits of the network in libpq's units; a URL can name others."""


class Connection(AsyncConnection[Any]):
    """Connection that a cancelled call closes at once.

    psycopg itself waits up to 10 s for the server to cancel the statement. Over a dead link that
    keeps the caller far beyond its deadline.
    """

    _cancellations: ClassVar[Supervisor] = Supervisor()

    async def wait(
        self,
        gen: PQGen[_Value],
        interval: float = CHECK_SECONDS,
        *limits: Any,
        **named_limits: Any,
    ) -> _Value:
        """Wait for the server's answer.

        Args:
            gen: psycopg's generator of the answer.
            interval: seconds between two wake-ups.
            limits: further limits of psycopg, which depend on its version.
            named_limits: the same, by name.

        """
        try:
            return await waiting.wait_async(
                gen, self.pgconn.socket, interval, *limits, **named_limits
            )
        except asyncio.CancelledError:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Close the connection without waiting, and cancel its statement in the background.

        Without the cancellation a statement that waits for a lock stays on the server, and each
        retry would occupy one more of the server's connections.
        """
        is_active = self.pgconn.transaction_status == TransactionStatus.ACTIVE
        cancellation = (
            self.pgconn.cancel_conn() if is_active and capabilities.has_cancel_safe() else None
        )
        self.pgconn.finish()
        if cancellation:
            self._cancellations.spawn("cancellation of a statement", _send(cancellation))

    def is_idle(self) -> bool:
        """Return whether the connection is free, and the server has not closed it."""
        try:
            # No call waits. The first reads the server's farewell, the second the stream's end.
            self.pgconn.consume_input()
            self.pgconn.consume_input()
        except psycopg.Error:
            return False
        return self.pgconn.transaction_status == TransactionStatus.IDLE


async def connect(url: str, **options: Any) -> Connection:
    """Connect in autocommit mode: each statement is one transaction.

    Args:
        url: the database's address, see `address.parse_address`.
        options: further options of libpq; those of the URL have priority.

    Raises:
        psycopg.Error: the server cannot be reached, or rejects the connection.

    """
    # PgBouncer in transaction mode gives each transaction another session of the server, where a
    # prepared statement is missing, or has the name of another client's one.
    return await Connection.connect(
        url, autocommit=True, prepare_threshold=None, **network_options(url, **options)
    )


def network_options(url: str, **options: Any) -> dict[str, Any]:
    """Return the limits of the network, and further options, that a URL does not name.

    `options` of both are joined; the encoding is always the one of our texts.
    """
    named = conninfo_to_dict(url)
    chosen = {
        name: value for name, value in {**NETWORK_OPTIONS, **options}.items() if name not in named
    }
    if "options" in options and "options" in named:
        # The last one counts: that of the URL.
        chosen["options"] = f"{options['options']} {named['options']}"
    return chosen | {"client_encoding": "utf8"}


async def _send(cancellation: PGcancelConn) -> None:
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            cancellation.start()
            await waiting.wait_conn_async(generators.cancel(cancellation), CHECK_SECONDS)
    except (psycopg.Error, OSError, TimeoutError):
        return  # the server ends the statement when it notices the closed connection
