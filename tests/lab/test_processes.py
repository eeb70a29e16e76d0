"""Tests of the lab's processes."""

import asyncio
import sys
from pathlib import Path

from tests.lab.processes import Recorder

TIMEOUT = 20.0
CHILD = "import time; print('{}', flush=True); time.sleep(60)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


async def test_kill_ends_the_child_that_holds_the_output(tmp_path: Path) -> None:
    has_started = asyncio.Event()
    recorder = Recorder(
        [sys.executable, "-c", PARENT],
        add=lambda line: has_started.set(),
        errors=tmp_path / "errors.log",
    )
    async with asyncio.timeout(TIMEOUT), recorder:
        await has_started.wait()
        await recorder.kill()
