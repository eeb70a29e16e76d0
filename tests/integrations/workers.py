"""Worker of a queue in a process group of its own, which ends with all its children."""

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
    """Run a worker with its output in a file."""
    # Not a pipe: a child that outlives the worker would keep it open.
    with output.open("w") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(variables),
            stdout=file,
            stderr=file,
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
