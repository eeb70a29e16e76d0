"""Private Redis servers: a single one, a Cluster, and a master with replica and Sentinel."""

import subprocess
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from types import TracebackType
from typing import Any, Self

import redis

from tests.services.programs import end, find_program, free_port, wait_until


class RedisServer:
    """Server `redis-server` on a free loopback port, in a separate folder.

    Args:
        folder: the folder of the data.
        options: command-line options, such as `--appendonly yes`.
        sentinel: whether the server is a Sentinel.

    """

    def __init__(self, folder: Path, *options: str, sentinel: bool = False) -> None:
        self.port = free_port()
        self.folder = folder
        self._log = folder / "log"
        self._options = options
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: Any) -> "redis.Redis":
        """Return a client of the server."""
        client: redis.Redis = redis.Redis.from_url(self.url, decode_responses=True, **options)
        return client

    def start(self) -> None:
        """Start the server; keep existing data."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(self._command(), stdout=output, stderr=output)
        try:
            wait_until(self._is_ready, log=self._log)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Shut the server down with SIGTERM; it saves its data if configured."""
        assert self._process
        end(self._process, SIGTERM, log=self._log)

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        assert self._process
        end(self._process, SIGKILL, log=self._log)

    def pause(self) -> None:
        """Stop the process with SIGSTOP; its connections stay open."""
        assert self._process
        self._process.send_signal(SIGSTOP)

    def resume(self) -> None:
        """Continue a paused process."""
        assert self._process
        self._process.send_signal(SIGCONT)

    def delete_data(self) -> None:
        """Delete the data of the stopped server."""
        for path in self.folder.rglob("*"):
            if path.is_file() and path.suffix in (".rdb", ".aof", ".manifest"):
                path.unlink()

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
        """End the server, if it runs."""
        if self._process and self._process.poll() is None:
            self.kill()

    def _command(self) -> list[str]:
        command = [find_program("redis-server", package="redis-server")]
        if self._sentinel:
            command += [str(self.folder / "sentinel.conf"), "--sentinel"]
        location = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder))
        return [*command, *location, "--enable-debug-command", "yes", *self._options]

    def _is_ready(self) -> bool:
        with suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False


class RedisCluster:
    """Cluster of three masters."""

    def __init__(self, folder: Path) -> None:
        options = ("--cluster-enabled", "yes", "--save", "", "--cluster-node-timeout", "30000")
        self.servers = [
            RedisServer(folder / str(number), *options, "--cluster-port", str(free_port()))
            for number in range(3)
        ]
        self._exits = ExitStack()

    @property
    def url(self) -> str:
        """Address of the server."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"redis+cluster://{hosts}"

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            for server in self.servers:
                exits.enter_context(server)
            self._join()
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def _join(self) -> None:
        hosts = [f"127.0.0.1:{server.port}" for server in self.servers]
        command = [find_program("redis-cli", package="redis-tools"), "--cluster", "create", *hosts]
        subprocess.run([*command, "--cluster-yes"], check=True, capture_output=True)
        for server in self.servers:
            wait_until(partial(_is_complete, server), log=server.folder / "log")


class RedisPair:
    """Master with a replica, and a Sentinel that promotes the replica."""

    service = "log"

    def __init__(self, folder: Path) -> None:
        no_delay = ("--repl-diskless-sync-delay", "0")  # the default waits 5 s for more replicas
        self.master = RedisServer(folder / "master", "--save", "", *no_delay)
        master = f"127.0.0.1 {self.master.port}".split()
        self.replica = RedisServer(folder / "replica", "--save", "", "--replicaof", *master)
        self.sentinel = RedisServer(folder / "sentinel", sentinel=True)
        self._exits = ExitStack()

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{self.service}"

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            for server in (self.master, self.replica):
                exits.enter_context(server)
            wait_until(self._is_replicating, log=self.replica.folder / "log")
            self._write_sentinel_configuration()
            exits.enter_context(self.sentinel)
            wait_until(self._is_known, log=self.sentinel.folder / "log")
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def stop_replication(self) -> None:
        """Stop the replication; the replica may still be promoted, without the later writes."""
        with self.replica.client() as client:
            client.config_set("masterauth", "a password that the master does not have")
            client.client_kill_filter(_type="master")

    def _write_sentinel_configuration(self) -> None:
        self.sentinel.folder.mkdir(parents=True)
        lines = (
            f"sentinel monitor {self.service} 127.0.0.1 {self.master.port} 1",
            f"sentinel down-after-milliseconds {self.service} 500",
            f"sentinel failover-timeout {self.service} 5000",
        )
        (self.sentinel.folder / "sentinel.conf").write_text("\n".join(lines) + "\n")

    def _is_replicating(self) -> bool:
        with self.replica.client() as client:
            state: dict[str, str] = client.info("replication")
            return state["master_link_status"] == "up"

    def _is_known(self) -> bool:
        with self.sentinel.client() as client:
            state: Sequence[Any] = client.execute_command("SENTINEL", "REPLICAS", self.service)
            return len(state) > 0


def _is_complete(server: RedisServer) -> bool:
    with server.client() as client:
        state = str(client.execute_command("CLUSTER", "INFO"))
        return "cluster_state" in state and "ok" in state.split("cluster_state")[1][:6]
