"""Where a server's program is, and ports and folders of its own."""

import random
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

TIMEOUT = 30.0
"""The longest that a server may take to answer, in seconds."""


def program(name: str, *folders: str, package: str) -> str:
    """Return the path of a program; a missing one is a failure that says what to install."""
    search = [None, *folders]
    for folder in search:
        if found := shutil.which(name, path=folder):
            return found
    raise AssertionError(f"{name} is missing: apt-get install {package}, as `make test` does")


def free_port() -> int:
    """Return a port that nobody listens on now, and that no outgoing connection is given.

    Those come from 32768 on (ip_local_port_range), and would take it before a server does.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


def until(answers: Callable[[], bool], *, log: Path) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + TIMEOUT
    while not answers():
        assert time.monotonic() < deadline, f"it does not answer: {log.read_text()[-2000:]}"
        time.sleep(0.02)
