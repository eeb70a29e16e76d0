"""Measured server and its load client, each on a core of its own."""

import json
import mmap
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).parent
LOAD = HERE / "native" / "load"
SERVER_CORE, LOAD_CORE = 0, 1
TIMEOUT = 60.0


class Counters:
    """Counters of the load client, in shared memory."""

    names = ("received", "ready", "lost", "bytes", "refused")

    def __init__(self, path: Path) -> None:
        with path.open("w+b") as file:
            file.truncate(4096)
            self._page = mmap.mmap(file.fileno(), 4096)

    def __getattr__(self, name: str) -> int:
        start = 8 * self.names.index(name)
        return int.from_bytes(self._page[start : start + 8], "little")


def start_on_core(
    core: int, command: Sequence[str | Path], **options: Any
) -> subprocess.Popen[str]:
    """Start a process on one core, by root with priority over all other processes."""
    priority = ["nice", "-n", "-19"] if os.geteuid() == 0 else []
    arguments = [*priority, "taskset", "-c", str(core), *map(str, command)]
    return subprocess.Popen(arguments, text=True, bufsize=1, **options)


@contextmanager
def run_on_core(core: int) -> Iterator[None]:
    """Run this process on one core, like `start_on_core`."""
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    os.sched_setaffinity(0, {core})
    if os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, 0, -19)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, priority)
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


def cpu_seconds(process: int) -> float:
    """Return the processor time of all threads of a process, in seconds."""
    total = 0
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process, in bytes."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def wait_for(condition: Any, name: str, timeout: float = TIMEOUT) -> None:
    """Wait for a condition in another process, with 50 checks a second."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > timeout:
            raise TimeoutError(f"{name} took over {timeout:g} s")
        time.sleep(0.02)


@dataclass
class LoadClient:
    """Running load client."""

    process: subprocess.Popen[str]
    counters: Counters

    def wait_until_ready(self, connections: int) -> None:
        """Wait until this number of connections is subscribed."""

        def ready() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError("the load client has ended")
            if self.counters.lost:
                raise RuntimeError(f"{self.counters.lost} connections were lost")
            return self.counters.ready >= connections

        wait_for(ready, f"connecting {connections} clients")

    def report(self) -> dict[str, Any]:
        """Return the latencies since the last report, in microseconds."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("report\n")
        self.process.stdin.flush()
        report: dict[str, Any] = json.loads(self.process.stdout.readline())
        return report


@dataclass
class ServerProcess:
    """Running server of the bench."""

    process: subprocess.Popen[str]
    port: int
    page: Path
    _files: list[IO[str]] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, command: str) -> None:
        """Send a command to the server's driver."""
        assert self.process.stdin
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    @contextmanager
    def load(
        self, connections: int, *options: object, page: Path | None = None
    ) -> Iterator[LoadClient]:
        """Open connections until the context ends."""
        counter_page = page or self.page
        counters = Counters(counter_page)
        command = [
            LOAD,
            "--port",
            self.port,
            "--connections",
            connections,
            "--counters",
            counter_page,
        ]
        process = start_on_core(
            LOAD_CORE,
            [str(argument) for argument in (*command, *options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            yield LoadClient(process, counters)
        finally:
            process.kill()
            process.wait()


@contextmanager
def run_server(
    command: Sequence[str | Path], *, core: int = SERVER_CORE, env: dict[str, str] | None = None
) -> Iterator[ServerProcess]:
    """Run a server of the bench; `{page}` in its command is the path of the counters."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="bench-") as file:
        page = Path(file.name)
        Counters(page)
        arguments = [str(part).replace("{page}", str(page)) for part in command]
        process = start_on_core(
            core,
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | (env or {}),
        )
        try:
            assert process.stdout
            line = process.stdout.readline()
            if not line.startswith("ready "):
                raise RuntimeError(f"{' '.join(arguments)} did not start: {line!r}")
            yield ServerProcess(process, int(line.split()[1]), page)
        finally:
            process.kill()
            process.wait()
