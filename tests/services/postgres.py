"""Private PostgreSQL server with separate databases for tests."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, Signals
from types import TracebackType
from typing import Self

import psycopg
from psycopg.sql import SQL, Identifier

from realtime_bridge.model.retention import Retention
from realtime_bridge.postgres import schema
from tests.services.programs import end, find_program, free_port, wait_until

FOLDERS = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)


class PostgresServer:
    """Server `postgres` on a free loopback port, with its data in a folder of its own.

    PostgreSQL does not run as root; for root, it runs as Debian's user `postgres`. It does not
    wait for the disk (fsync): what a killed process has written stays in the kernel's cache.

    Args:
        options: settings, such as `fsync=on`.

    """

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        # Not a folder of pytest: each run of pytest closes those of all runs to other users.
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._log = self._folder / "log"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Open a connection of the superuser."""
        return psycopg.connect(self.url(database), autocommit=True)

    def database(self, retention: Retention | None = None, *, prefix: str = "realtime") -> str:
        """Create a database with the log's schema, and return its URL."""
        name = f"test_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        with self.connect(name) as connection:
            schema.install(connection, prefix, retention or Retention())
        return self.url(name)

    def start(self) -> None:
        """Start the server; keep existing data."""
        if not (self._folder / "data").exists():
            self._create()
        settings = (
            *("listen_addresses=127.0.0.1", f"unix_socket_directories={self._folder}"),
            *("max_connections=200", "fsync=off", *self._options),
        )
        options = [part for setting in settings for part in ("-c", setting)]
        command = [_program("postgres"), "-D", str(self._folder / "data"), "-p", str(self.port)]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [*_as_user(), *command, *options], stdout=output, stderr=output, cwd=self._folder
            )
        try:
            wait_until(self._is_ready, log=self._log)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Shut the server down, with open connections closed (fast shutdown)."""
        assert self._process
        end(self._process, SIGINT, log=self._log)

    def kill(self) -> None:
        """Kill the server and its child processes with SIGKILL."""
        assert self._process
        self._send(SIGKILL)
        end(self._process, SIGKILL, log=self._log)
        (self._folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def pause(self) -> None:
        """Stop the server and its child processes with SIGSTOP; connections stay open."""
        self._send(SIGSTOP)

    def resume(self) -> None:
        """Continue a paused server."""
        self._send(SIGCONT)

    def _send(self, number: Signals) -> None:
        assert self._process
        for pid in (*_children(self._process.pid), self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the server, if it runs, and delete its data."""
        if self._process and self._process.poll() is None:
            self.resume()
            # Killed with SIGKILL, the server would leave its shared memory behind.
            end(self._process, SIGQUIT, log=self._log)
        shutil.rmtree(self._folder)

    def _create(self) -> None:
        if os.getuid() == 0:
            shutil.chown(self._folder, "postgres")
        command = [_program("initdb"), "-D", str(self._folder / "data"), "-U", "postgres"]
        options = ("--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        subprocess.run(
            [*_as_user(), *command, *options], check=True, capture_output=True, cwd=self._folder
        )

    def _is_ready(self) -> bool:
        with suppress(psycopg.Error), self.connect():
            return True
        return False


def _program(name: str) -> str:
    return find_program(name, *FOLDERS, package="postgresql")


def _as_user() -> Sequence[str]:
    if os.getuid() != 0:
        return ()
    user = pwd.getpwnam("postgres")
    return ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")


def _children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text().split()] if children.exists() else []
