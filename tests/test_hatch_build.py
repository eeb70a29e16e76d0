"""Wheels with the compiled module, and pure wheels without a compiler."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hatch_build import SOURCES, Native

ROOT = Path(__file__).parent.parent


def build_wheel(folder: Path) -> Path:
    """Build the wheel in a separate process, as installers do."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def has_compiled(wheel: Path) -> bool:
    names = zipfile.ZipFile(wheel).namelist()
    return any(name.startswith("realtime_bridge/compiled/_core.cpython") for name in names)


def test_wheel_has_the_module_for_this_machine(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    assert has_compiled(wheel)
    assert not wheel.name.endswith("-none-any.whl")


@pytest.mark.parametrize("compiler", ["false", "/nowhere/cc"])
def test_broken_compiler_gives_a_wheel_for_any_machine(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", compiler)
    wheel = build_wheel(tmp_path)
    assert not has_compiled(wheel)
    assert wheel.name.endswith("-py3-none-any.whl")


def test_editable_build_keeps_the_file_of_a_loaded_module(tmp_path: Path) -> None:
    sources = tmp_path / SOURCES
    sources.mkdir(parents=True)
    shutil.copy(ROOT / SOURCES / "module.c", sources)
    shutil.copy(ROOT / SOURCES / "core.h", sources)
    hook = Native(str(tmp_path), {}, None, None, str(tmp_path), "wheel")  # type: ignore[arg-type]
    hook.initialize("editable", {})
    (library,) = sources.glob("*.so")
    with library.open("rb") as loaded:
        hook.initialize("editable", {})
        assert os.fstat(loaded.fileno()).st_ino != library.stat().st_ino
