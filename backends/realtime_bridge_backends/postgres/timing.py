"""Time limits of a PostgreSQL backend."""

from msgspec import Struct


class PostgresTiming(Struct, frozen=True, kw_only=True):
    """Time limits, in seconds.

    Args:
        call_seconds: for one call, with its wait for a free connection and the time to connect.
            It is below the broadcaster's limit of 5 s, so that the broadcaster reports the
            database's error and not a timeout of its own.
        check_seconds: for the answer of a connection that was idle for `idle_seconds`.
        idle_seconds: after which an idle connection is asked for an answer before its next use: a
            firewall may have dropped it without notice.
        keep_seconds: after which an idle connection is closed.
        wake_seconds: the longest wait of a listener for a notification. The read after it also
            detects a dead connection, which otherwise stays silent without end.
        answer_seconds: for each answer on a listener's connection, and to open it.

    """

    call_seconds: float = 4.0
    check_seconds: float = 1.0
    idle_seconds: float = 10.0
    keep_seconds: float = 600.0
    wake_seconds: float = 10.0
    answer_seconds: float = 4.0
