"""Command `demo`: the example application that the package includes."""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Never

from realtime_bridge.errors import ConfigurationError

EXAMPLE = "processing_queue"
PACKAGES = {
    "fastapi": "fastapi",
    "huey": "huey",
    "python_multipart": "python-multipart",
    "rich": "rich",
    "uvicorn": "uvicorn",
}


def demo(files: Sequence[Path] = (), *, port: int = 0, data: Path | None = None) -> Never:
    """Replace this process by the processing queue, until Ctrl-C.

    Args:
        files: files and folders to process at the start.
        port: TCP port to listen on; 0 takes a free one.
        data: folder for uploads and results; a temporary one by default.

    Raises:
        ConfigurationError: a package that the example needs is missing.

    """
    _check_installed()
    options = ["--port", str(port), *(["--data", str(data)] if data else [])]
    command = [sys.executable, str(_folder()), *options, "--", *map(str, files)]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 -- our own interpreter, and no shell


def _check_installed() -> None:
    missing = [name for module, name in PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise ConfigurationError(
            f"The demo needs {', '.join(missing)}. Run: pip install 'realtime-bridge[demo]'"
        )


def _folder() -> Path:
    """Return the example's folder: beside this module when installed, else in the checkout."""
    here = Path(__file__).resolve()
    places = (here.parent / EXAMPLE, here.parents[2] / "examples" / EXAMPLE)
    folder = next((place for place in places if (place / "__main__.py").is_file()), None)
    if folder is None:
        raise ConfigurationError(
            f"The example {EXAMPLE} is missing from this installation: install the wheel, or run "
            "it from a checkout"
        )
    return folder
