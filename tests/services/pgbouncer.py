"""Private PgBouncer in transaction mode, before a PostgreSQL server."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from types import TracebackType
from typing import Self

import psycopg

from tests.services.postgres import PostgresServer
from tests.services.programs import end, find_program, free_port, wait_until

SETTINGS = """
[databases]
* = host=127.0.0.1 port={server_port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
"""


class PgBouncer:
    """Pooler on a free loopback port; three sessions of the server for all its clients."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.port = free_port()
        self._server = server
        self._folder = folder
        self._log = folder / "pgbouncer.log"
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, url: str) -> str:
        """Return the address, through this pooler, of a database of the server."""
        return url.replace(f":{self._server.port}/", f":{self.port}/")

    def __enter__(self) -> Self:
        settings = self._folder / "pgbouncer.ini"
        settings.write_text(SETTINGS.format(server_port=self._server.port, port=self.port))
        command = [find_program("pgbouncer", "/usr/sbin", package="pgbouncer"), str(settings)]
        if os.getuid() == 0:  # it refuses to run as root
            command = [command[0], "-u", "postgres", *command[1:]]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            wait_until(self._is_ready, log=self._log)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._process:
            end(self._process, SIGKILL, log=self._log)

    def _is_ready(self) -> bool:
        with suppress(psycopg.Error), psycopg.connect(self.url(self._server.url())):
            return True
        return False
