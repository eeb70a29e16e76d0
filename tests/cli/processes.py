"""The command as its users have it: processes with an environment, output, and an end."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Self

COMMAND = str(Path(sys.executable).with_name("realtime-bridge"))
SECRET = "a secret for tests, of more than 32 bytes"
TIMEOUT = 30.0


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this environment with these of our own variables alone."""
    others = {name: value for name, value in os.environ.items() if "REALTIME_" not in name}
    return others | dict(variables or {})


class Process:
    """A running command; its standard error is read line by line while it runs."""

    def __init__(self, *command: str, folder: Path, variables: Mapping[str, str]) -> None:
        self.errors: list[str] = []
        self._lines: Queue[str | None] = Queue()
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def line(self, beginning: str) -> str:
        """Wait until standard error has a line that begins so, and return it."""
        while True:
            try:
                line = self._lines.get(timeout=TIMEOUT)
            except Empty:
                line = None
            assert line is not None, f"no line {beginning!r} in {self.errors}"
            self.errors.append(line)
            if line.startswith(beginning):
                return line

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def finish(self) -> tuple[int, str]:
        """Wait until it ends, and return its status and its standard output."""
        assert self._process.stdout
        output = self._process.stdout.read()
        status = self._process.wait(TIMEOUT)
        self._reading.join(TIMEOUT)
        while not self._lines.empty():
            self.errors.append(self._lines.get() or "")
        return status, output

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self._process.kill()
        self._process.wait(TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._reading.join(TIMEOUT)
        for stream in (self._process.stdout, self._process.stderr):
            if stream:
                stream.close()


class ServeProcess(Process):
    """`realtime-bridge serve`, and where it is."""

    def __init__(
        self,
        *options: str,
        folder: Path,
        variables: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        arguments = ("serve", "--port", str(port), *options)
        super().__init__(COMMAND, *arguments, folder=folder, variables=variables or {})
        self.url = self.line("serving").split()[1]
        self.port = int(self.url.split(":")[2].partition("/")[0])


@contextmanager
def command(
    *arguments: str, folder: Path, variables: Mapping[str, str] | None = None
) -> Generator[Process]:
    """Run the command beside the test."""
    with Process(COMMAND, *arguments, folder=folder, variables=variables or {}) as process:
        yield process


def run(
    *arguments: str, folder: Path, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
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
    """Run commands to their ends, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(run, *arguments, folder=folder, variables=variables)
            for arguments, variables in commands
        ]
        return [running.result() for running in runs]


def complaint(done: subprocess.CompletedProcess[str], *, status: int) -> str:
    """Return what a command that failed clearly says: a sentence, and no traceback."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr
    return " ".join(done.stderr.replace("│", " ").split())
