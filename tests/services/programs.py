"""Programs of database servers, and free ports for them."""

import random
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

TIMEOUT = 30.0
"""Longest wait for a server's answer, in seconds."""


def program(name: str, *folders: str, package: str) -> str:
    """Return the path of a program; the error of a missing program names its package."""
    search = [None, *folders]
    for folder in search:
        if path := shutil.which(name, path=folder):
            return path
    raise AssertionError(f"{name} is missing. Run: apt-get install {package} (`make test` does).")


def free_port() -> int:
    """Return a free port below the range of outgoing connections."""
    # Linux takes the ports of outgoing connections from 32768 on (ip_local_port_range);
    # such a connection could use the port before the server does.
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


def wait_until(is_ready: Callable[[], bool], *, log: Path) -> None:
    """Wait until a server is ready."""
    deadline = time.monotonic() + TIMEOUT
    while not is_ready():
        assert time.monotonic() < deadline, f"the server does not answer: {log.read_text()[-2000:]}"
        time.sleep(0.02)
