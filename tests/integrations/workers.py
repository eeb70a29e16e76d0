"""A queue's worker in a process group of its own, which ends with all its children."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cli.processes import environment

ROOT = Path(__file__).parent.parent.parent
TIMEOUT = 10.0


@contextmanager
def running(*command: str, variables: Mapping[str, str], output: Path) -> Iterator[None]:
    """Run the worker; what it says goes to a file, which a child that outlives it cannot hold."""
    with output.open("w") as said:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(variables),
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(TIMEOUT)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(TIMEOUT)
