"""Build hook for the compiled core; without a compiler, the wheel uses Python, which is slower."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

MODULE = "realtime_bridge.compiled._core"
SOURCES = "realtime_bridge/compiled"


class Native(BuildHookInterface[Any]):
    """Build hook: module in a wheel, or beside its source for an editable install."""

    _folder: str | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the module if a compiler works here."""
        if self.target_name != "wheel" or sys.platform == "win32":
            return
        self._folder = tempfile.mkdtemp(prefix="realtime-bridge-")
        try:
            library = compile_module(Path(self.root, SOURCES), self._folder)
        except (BaseError, CCompilerError) as error:
            self.app.display_warning(f"Events will pass through Python, not through C: {error}")
            return
        if version == "editable":
            _replace(library, Path(self.root, SOURCES, library.name))
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"][str(library)] = f"{SOURCES}/{library.name}"

    def finalize(self, *_artifacts: object) -> None:
        """Remove the temporary folder."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def _replace(source: Path, target: Path) -> None:
    """Put a file at a path; processes that have loaded the earlier one keep it.

    Written in place, it would change under their running code, and they would crash.
    """
    new = target.with_name(f"{target.name}.new")
    shutil.copy(source, new)
    new.replace(target)


def compile_module(sources: Path, folder: str) -> Path:
    """Compile the module into a folder, and return the path of the library."""
    files = sorted(map(str, sources.glob("*.c")))
    # Nothing but the function that creates the module is of use outside it.
    extension = Extension(MODULE, files, extra_compile_args=["-fvisibility=hidden"])
    command = build_ext(Distribution({"name": "realtime-bridge", "ext_modules": [extension]}))
    command.build_temp = command.build_lib = folder
    command.ensure_finalized()
    command.run()
    return Path(*command.get_outputs())
