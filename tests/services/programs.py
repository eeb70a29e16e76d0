"""Paths of server programs, free ports, and waiting for a server."""

import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from signal import Signals

TIMEOUT = 30.0
"""Longest time until a server is ready, in seconds."""

END_TIMEOUT = 100.0
"""Longest time until a process has ended after a signal, in seconds: it may have to write data."""


def find_program(name: str, *folders: str, package: str) -> str:
    """Return the path of a program; fail with the package to install if it is missing."""
    for folder in (None, *folders):
        if path := shutil.which(name, path=folder):
            return path
    raise AssertionError(f"{name} is missing: apt-get install {package}, as `make test` does")


def free_port() -> int:
    """Return a port that is free now, and that the kernel gives to no outgoing connection.

    Linux takes those from 32768 on (ip_local_port_range): one could occupy the port before the
    server starts.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


def wait_until(is_ready: Callable[[], bool], *, log: Path) -> None:
    """Wait until a server is ready; fail with its log after `TIMEOUT`."""
    deadline = time.monotonic() + TIMEOUT
    while not is_ready():
        assert time.monotonic() < deadline, f"the server is not ready: {log.read_text()[-2000:]}"
        time.sleep(0.02)


def end(process: subprocess.Popen[bytes], signal: Signals, *, log: Path) -> None:
    """Send a signal, and wait for the end; after `END_TIMEOUT`, kill, and fail with the log."""
    process.send_signal(signal)
    try:
        process.wait(END_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"{signal.name} ended no server: {log.read_text()[-2000:]}") from None
