"""Several processes on one file: starts at once, ends by signals, and forks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = "FULL_LOAD" in os.environ
ROUNDS = {"race": 50 if FULL else 3, "kill": 200 if FULL else 4, "fork": 1}


@pytest.mark.parametrize("name", ROUNDS)
def test_processes_share_the_file(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "tests.backends.sqlite.processes", name]
    subprocess.run([*command, str(tmp_path), str(ROUNDS[name])], check=True)
