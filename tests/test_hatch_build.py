"""The wheel has what is in C, compiled for this machine; where that fails, it does without."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def built(folder: Path) -> Path:
    """Build the wheel, in a process of its own as installers do."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def has_compiled(wheel: Path) -> bool:
    names = zipfile.ZipFile(wheel).namelist()
    return any(name.startswith("realtime_bridge/server/_sending.cpython") for name in names)


def test_it_is_compiled_for_this_machine(tmp_path: Path) -> None:
    wheel = built(tmp_path)
    assert has_compiled(wheel)
    assert not wheel.name.endswith("-none-any.whl")


@pytest.mark.parametrize("compiler", ["false", "/nowhere/cc"])
def test_without_a_compiler_that_works_it_is_for_any_machine(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", compiler)
    wheel = built(tmp_path)
    assert not has_compiled(wheel)
    assert wheel.name.endswith("-py3-none-any.whl")
