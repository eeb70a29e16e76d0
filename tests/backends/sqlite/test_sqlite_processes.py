"""Several processes on one file: starts at once, ends by signals, forks, and loads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = "FULL_LOAD" in os.environ
ROUNDS = {
    ("processes", "race"): 50 if FULL else 3,
    ("processes", "kill"): 200 if FULL else 4,
    ("processes", "fork"): 1,
}
"""Rounds of each work, or its seconds."""

if FULL:  # minutes, and namespaces that only root may make
    ROUNDS |= {("loads", "containers"): 1, ("loads", "writers"): 60}


@pytest.mark.parametrize(("module", "name"), ROUNDS)
def test_processes_share_the_file(tmp_path: Path, module: str, name: str) -> None:
    command = [sys.executable, "-m", f"tests.backends.sqlite.{module}", name]
    subprocess.run([*command, str(tmp_path), str(ROUNDS[module, name])], check=True)
