"""Planted faults: each patch applies to today's code, and the runner finds one."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATCHES = sorted((ROOT / "tests" / "mutants").glob("*.patch"))
TIMEOUT = 100.0


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_patch_applies_and_begins_with_a_sentence(path: Path) -> None:
    patch = path.read_text(encoding="utf-8")
    subprocess.run(
        ["patch", "--strip=1", "--dry-run"],
        cwd=ROOT,
        input=patch,
        text=True,
        check=True,
        capture_output=True,
    )
    assert patch.splitlines()[0].endswith(".")


def test_runner_finds_a_planted_fault() -> None:
    command = [sys.executable, "scripts/mutants.py", "17"]
    process = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    assert process.stdout.startswith("17-reconnections-at-one-moment")
    assert process.stdout.endswith("1 of 1 planted faults were found\n")
    assert process.returncode == 0
