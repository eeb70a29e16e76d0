"""Log servers of the lab: a private Redis, a private PostgreSQL, and a SQLite file without one."""

from pathlib import Path
from typing import Protocol

import psycopg

from realtime_bridge.backend.log import Log
from realtime_bridge.model.ids import event_id
from realtime_bridge.model.retention import Retention
from realtime_bridge.postgres import schema
from realtime_bridge_backends.postgres import PostgresBackend
from realtime_bridge_backends.postgres.listener import APPLICATION_NAME
from realtime_bridge_backends.redis import RedisBackend
from realtime_bridge_backends.redis.listener import pubsub_channel
from realtime_bridge_backends.sqlite import SQLiteBackend
from tests.lab.schedule import Backend
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

PREFIX = "realtime"


class Server(Protocol):
    """Process of a log's server."""

    port: int

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...


class LogServer(Protocol):
    """Server of the log, and its address through a link."""

    @property
    def server(self) -> Server:
        """Process of the server."""

    def open(self) -> None:
        """Start the server, and create the log."""

    def variables(self, port: int) -> dict[str, str]:
        """Return the environment variables of a process that connects to this port."""

    def log(self) -> Log:
        """Return the log, without a link."""

    def garbage(self, channel: str) -> None:
        """Announce garbage on a channel."""

    def wipe(self) -> None:
        """Lose the log."""

    def end_feeds(self) -> None:
        """End the connections of all listeners."""


class RedisLog:
    """Redis that keeps its data over a crash."""

    def __init__(self, folder: Path) -> None:
        self._redis = RedisServer(folder / "redis", "--save", "", "--appendonly", "yes")

    @property
    def server(self) -> Server:
        return self._redis

    def open(self) -> None:
        self._redis.start()

    def variables(self, port: int) -> dict[str, str]:
        return {"REALTIME_BACKEND": "redis", "REALTIME_REDIS_URL": f"redis://127.0.0.1:{port}/0"}

    def log(self) -> Log:
        return RedisBackend(self._redis.url)

    def garbage(self, channel: str) -> None:
        with self._redis.client() as client:
            client.publish(pubsub_channel(PREFIX, channel), b'\xff{"type":"event",\n]')

    def wipe(self) -> None:
        self._redis.stop()
        self._redis.delete_data()
        self._redis.start()

    def end_feeds(self) -> None:
        with self._redis.client() as client:
            client.client_kill_filter(_type="pubsub")


class PostgresLog:
    """PostgreSQL with the log's schema."""

    def __init__(self) -> None:
        self._postgres = PostgresServer()

    @property
    def server(self) -> Server:
        return self._postgres

    def open(self) -> None:
        self._postgres.start()
        self._url = self._postgres.database()

    def variables(self, port: int) -> dict[str, str]:
        url = self._url.replace(f":{self.server.port}/", f":{port}/")
        return {"REALTIME_BACKEND": "postgres", "REALTIME_POSTGRES_URL": url}

    def log(self) -> Log:
        return PostgresBackend(self._url)

    def garbage(self, channel: str) -> None:
        with self._connect() as connection:
            # The outbox rejects it. A program that calls the function has no such check.
            connection.execute(
                "SELECT FROM realtime.append(%s, '{job.odd}', %s, %s, '{NULL}', '{NULL}')",
                ([channel], [event_id()], ["{odd\n"]),
            )

    def wipe(self) -> None:
        with self._connect() as connection:
            connection.execute("DROP SCHEMA realtime CASCADE")
            schema.install(connection, PREFIX, Retention())

    def end_feeds(self) -> None:
        with self._connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = %s",
                (APPLICATION_NAME,),
            )

    def _connect(self) -> psycopg.Connection:
        return self._postgres.connect(self._url.rpartition("/")[2])


class NoServer:
    """Server of a log in a file: there is none, so nothing can happen to it."""

    port = 0

    def start(self) -> None:
        """Do nothing."""

    stop = kill = pause = resume = close = start


class SQLiteLog:
    """SQLite file of the nodes and the publisher; no schedule has faults of its server."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "log.db"
        self.server: Server = NoServer()

    def open(self) -> None:
        """Do nothing: the first process creates the file."""

    def variables(self, port: int) -> dict[str, str]:
        return {"REALTIME_BACKEND": "sqlite", "REALTIME_SQLITE_PATH": str(self._path)}

    def log(self) -> Log:
        return SQLiteBackend(self._path)

    def garbage(self, channel: str) -> None:
        raise NotImplementedError(f"a SQLite file announces nothing on {channel}")

    def wipe(self) -> None:
        raise NotImplementedError("its processes have the file open")

    def end_feeds(self) -> None:
        raise NotImplementedError("a SQLite file has no connections")


def create_log_server(backend: Backend, folder: Path) -> LogServer:
    """Return the log server of a schedule, not started."""
    match backend:
        case "redis":
            return RedisLog(folder)
        case "postgres":
            return PostgresLog()
        case "sqlite":
            return SQLiteLog(folder)
