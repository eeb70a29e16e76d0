"""Private Redis servers: one alone, a Cluster of three, a master with a replica and a Sentinel."""

import subprocess
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from tests.services.programs import TIMEOUT, free_port, program, until


class RedisServer:
    """One `redis-server` on a free loopback port, in a folder of its own.

    Args:
        folder: where its data is.
        options: of its command line, such as `--appendonly yes`.

    """

    def __init__(self, folder: Path, *options: str, sentinel: bool = False) -> None:
        self.port = free_port()
        self._folder = folder
        self._options = options
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: Any) -> "redis.Redis":
        """Return a client, to look and to meddle."""
        client: redis.Redis = redis.Redis.from_url(self.url, decode_responses=True, **options)
        return client

    def start(self) -> None:
        """Start it, with the data that it has."""
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(self._command(), stdout=output, stderr=output)
        try:
            until(self._answers, log=log)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Stop it as an operator does: it may save what it has."""
        assert self._process
        self._process.terminate()
        self._process.wait(TIMEOUT)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        assert self._process
        self._process.kill()
        self._process.wait(TIMEOUT)

    def forget(self) -> None:
        """Remove its data, while it is stopped."""
        for kept in self._folder.rglob("*"):
            if kept.is_file() and kept.suffix in (".rdb", ".aof", ".manifest"):
                kept.unlink()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process and self._process.poll() is None:
            self.kill()

    def _command(self) -> list[str]:
        name = "redis-server"
        command = [program(name, package="redis-server")]
        if self._sentinel:
            command += [str(self._folder / "sentinel.conf"), "--sentinel"]
        placed = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder))
        return [*command, *placed, "--enable-debug-command", "yes", *self._options]

    def _answers(self) -> bool:
        with suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False


class RedisCluster:
    """Three masters that share the slots."""

    def __init__(self, folder: Path) -> None:
        options = ("--cluster-enabled", "yes", "--save", "", "--cluster-node-timeout", "2000")
        self.servers = [
            RedisServer(folder / str(number), *options, "--cluster-port", str(free_port()))
            for number in range(3)
        ]
        self._exits = ExitStack()

    @property
    def url(self) -> str:
        """Where it is."""
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
        command = [program("redis-cli", package="redis-tools"), "--cluster", "create", *hosts]
        subprocess.run([*command, "--cluster-yes"], check=True, capture_output=True)
        for server in self.servers:
            until(partial(_is_whole, server), log=server._folder / "log")


class RedisPair:
    """A master, a replica, and a Sentinel that turns the one into the other."""

    service = "log"

    def __init__(self, folder: Path) -> None:
        at_once = ("--repl-diskless-sync-delay", "0")  # not after 5 s, for others to join in
        self.master = RedisServer(folder / "master", "--save", "", *at_once)
        follow = f"127.0.0.1 {self.master.port}".split()
        self.replica = RedisServer(folder / "replica", "--save", "", "--replicaof", *follow)
        self.sentinel = RedisServer(folder / "sentinel", sentinel=True)
        self._exits = ExitStack()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{self.service}"

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            for server in (self.master, self.replica):
                exits.enter_context(server)
            until(self._follows, log=self.replica._folder / "log")
            self._watch()
            exits.enter_context(self.sentinel)
            until(self._is_known, log=self.sentinel._folder / "log")
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def part(self) -> None:
        """Let the replica miss what is written from now on; it may still be promoted."""
        with self.replica.client() as client:
            client.config_set("masterauth", "a password that the master does not have")
            client.client_kill_filter(_type="master")

    def _watch(self) -> None:
        self.sentinel._folder.mkdir(parents=True)
        lines = (
            f"sentinel monitor {self.service} 127.0.0.1 {self.master.port} 1",
            f"sentinel down-after-milliseconds {self.service} 500",
            f"sentinel failover-timeout {self.service} 5000",
        )
        (self.sentinel._folder / "sentinel.conf").write_text("\n".join(lines) + "\n")

    def _follows(self) -> bool:
        with self.replica.client() as client:
            state: dict[str, str] = client.info("replication")
            return state["master_link_status"] == "up"

    def _is_known(self) -> bool:
        with self.sentinel.client() as client:
            state: Sequence[Any] = client.execute_command("SENTINEL", "REPLICAS", self.service)
            return len(state) > 0


def _is_whole(server: RedisServer) -> bool:
    with server.client() as client:
        state = str(client.execute_command("CLUSTER", "INFO"))
        return "cluster_state" in state and "ok" in state.split("cluster_state")[1][:6]
