"""Attacks on `realtime-bridge serve`, and what other clients notice of them.

python -m tests.security.load [NAME …]
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cli.processes import COMMAND, SECRET, Process
from tests.security.attacks import LOST, PATH, Target, attacks

FILES = 256
"""Limit of open files of the attacked process: small, so that idle sockets could use it up."""

APPLICATION = """
from realtime_bridge.server import Bridge

bridge = Bridge.from_env(authenticate=lambda request: request.cookies.get("session"))
"""

HEALTH = f"GET {PATH}/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()


@dataclass
class Report:
    """Observations of other clients and of an operator during an attack."""

    answers: list[float]
    """Time of each health answer, in s."""
    failures: int
    grown_kib: int
    lines: list[str]
    seconds: float

    @property
    def p99(self) -> float:
        return sorted(self.answers)[int(len(self.answers) * 0.99)]

    def __str__(self) -> str:
        return (
            f"{len(self.answers)} answers, {self.failures} failed, p99 {self.p99 * 1e3:.0f} ms, "
            f"max {max(self.answers) * 1e3:.0f} ms, memory +{self.grown_kib / 1024:.1f} MiB, "
            f"{len(self.lines)} log lines, {self.seconds:.1f} s"
        )


@contextmanager
def server() -> Iterator[tuple[Process, int]]:
    """Run `realtime-bridge serve` with an application's cookies, and yield it with its port."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "own.py").write_text(APPLICATION)
        command = ("prlimit", f"--nofile={FILES}:{FILES}", COMMAND, "serve", "own:bridge")
        variables = {"REALTIME_SECRET": SECRET}
        with Process(*command, "--port", "0", folder=Path(folder), variables=variables) as process:
            url = process.line("serving").split()[1].rstrip(",")
            yield process, int(url.split(":")[2].partition("/")[0])


async def attack(process: Process, port: int, name: str, scale: float = 1.0) -> Report:
    """Attack the server while another client asks for its health."""
    lines, target = len(process.log), Target(port)
    answers: list[float] = []
    failures = [0]
    peak = [memory_kib(process.pid)]
    before, start = peak[0], time.monotonic()
    async with _asking(port, process.pid, answers, failures, peak):
        await attacks(time.time())[name](target, scale)
        await _answered(answers, len(answers) + 20)
    target.close()
    rejected = [line for _, line in process.log[lines:]]
    seconds = time.monotonic() - start
    return Report(answers, failures[0], peak[0] - before, rejected, seconds)


@asynccontextmanager
async def _asking(
    port: int, pid: int, answers: list[float], failures: list[int], peak: list[int]
) -> AsyncIterator[None]:
    async def ask() -> None:
        while True:
            start = time.monotonic()
            try:
                await _health(port)
                answers.append(time.monotonic() - start)
            except LOST:
                failures[0] += 1
            peak[0] = max(peak[0], memory_kib(pid))
            await asyncio.sleep(0.01)

    task = asyncio.create_task(ask())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _answered(answers: list[float], count: int) -> None:
    async with asyncio.timeout(60):
        while len(answers) < count:  # noqa: ASYNC110 -- no event reports it
            await asyncio.sleep(0.01)


async def _health(port: int) -> None:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(HEALTH)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise ConnectionError(head)
        finally:
            writer.transport.abort()


def memory_kib(pid: int) -> int:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError(pid)


def main() -> None:
    names = sys.argv[1:] or list(attacks(0.0))
    for name in names:
        with server() as (process, port):
            report = asyncio.run(attack(process, port, name))
        print(f"{name}: {report}", *report.lines, sep="\n    ", flush=True)


if __name__ == "__main__":
    main()
