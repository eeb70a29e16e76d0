"""Processes of the command line, with their environment, output and exit status."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Self

COMMAND = str(Path(sys.executable).with_name("realtime-bridge"))
SECRET = "a secret for tests of more than 32 bytes"
TIMEOUT = 60.0


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this environment, with no other REALTIME_ variables than the given ones."""
    others = {name: value for name, value in os.environ.items() if "REALTIME_" not in name}
    return others | dict(variables or {})


class Process:
    """Running command, whose standard error is read by lines."""

    def __init__(self, *command: str, folder: Path, variables: Mapping[str, str]) -> None:
        self.errors: list[str] = []
        self.log: list[tuple[float, str]] = []
        """All lines of standard error so far, each with its Unix time."""
        self._lines: Queue[str | None] = Queue()
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,  # its workers end with it, and close their ends of the pipes
        )
        # A thread reads all the time: a full pipe would stop the process.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self.log.append((time.time(), line.rstrip("\n")))
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def line(self, beginning: str) -> str:
        """Wait for a line of standard error with this beginning, and return it."""
        while True:
            try:
                line = self._lines.get(timeout=TIMEOUT)
            except Empty:
                line = None
            assert line is not None, f"no line {beginning!r} in {self.errors}"
            self.errors.append(line)
            if line.startswith(beginning):
                return line

    def output_line(self) -> str:
        """Wait for the next line of standard output, and return it."""
        assert self._process.stdout
        return self._process.stdout.readline().rstrip("\n")

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def finish(self) -> tuple[int, str]:
        """Wait for the end, and return the status and the rest of standard output."""
        assert self._process.stdout
        output = self._process.stdout.read()
        status = self._process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        while not self._lines.empty():
            self.errors.append(self._lines.get() or "")
        return status, output

    def kill(self) -> None:
        """Kill the process and its children, and wait for its end."""
        if self._process.poll() is None:  # later the number may be of another group
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._reader.join(TIMEOUT)
        for stream in (self._process.stdout, self._process.stderr):
            if stream:
                stream.close()


class ServeProcess(Process):
    """Process of `realtime-bridge serve`, with its URL and port."""

    def __init__(
        self,
        *options: str,
        folder: Path,
        variables: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        arguments = ("serve", "--port", str(port), *options)
        super().__init__(COMMAND, *arguments, folder=folder, variables=variables or {})
        self.url = self.line("serving").split()[1].rstrip(",")
        self.port = int(self.url.split(":")[2].partition("/")[0])


@contextmanager
def command(
    *arguments: str, folder: Path, variables: Mapping[str, str] | None = None
) -> Generator[Process]:
    """Run the command in the background."""
    with Process(COMMAND, *arguments, folder=folder, variables=variables or {}) as process:
        yield process


def run(
    *arguments: str, folder: Path, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command, and return its result."""
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def run_all(
    commands: Iterable[tuple[Sequence[str], Mapping[str, str]]], folder: Path
) -> list[subprocess.CompletedProcess[str]]:
    """Run commands, two at a time, and return their results."""
    with ThreadPoolExecutor(2) as pool:
        futures = [
            pool.submit(run, *arguments, folder=folder, variables=variables)
            for arguments, variables in commands
        ]
        return [future.result() for future in futures]


def complaint(result: subprocess.CompletedProcess[str], *, status: int) -> str:
    """Return the error text of a failed command, and check that it has no traceback or secret."""
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr
    assert SECRET not in result.stderr
    return " ".join(result.stderr.replace("│", " ").split())
