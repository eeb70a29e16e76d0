"""Planted faults: each patch applies to today's code, and the runner finds one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATCHES = sorted((ROOT / "tests" / "mutants").glob("*.patch"))
TIMEOUT = 280.0


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


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_test_named_by_patch_exists(path: Path) -> None:
    named = re.search(r"^Test: (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    words = named[1].split() if named else []
    folder = ROOT / "clients" / "js" if "vitest" in words else ROOT
    for word in words:
        assert not word.startswith(("test/", "tests/")) or (folder / word).exists(), word


@pytest.mark.timeout(300)
def test_runner_finds_a_planted_fault() -> None:
    command = [sys.executable, "scripts/mutants.py", "17"]
    process = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    assert process.stdout.startswith("17  All clients reconnect after the same wait.  ")
    assert process.stdout.endswith("1 of 1 planted faults were found\n")
    assert process.returncode == 0
