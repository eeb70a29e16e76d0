"""`realtime-bridge demo`: runs the example application that this package brings along."""

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
    """Run the processing queue, in the place of this process, until Ctrl-C.

    Args:
        files: files and folders to process at the start.
        port: where to listen; 0 is any free port.
        data: a folder to keep everything in; by default a temporary one.

    Raises:
        ConfigurationError: what the example needs is not installed.

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
    """Return where the example is: beside this module when installed, else in the checkout."""
    here = Path(__file__).resolve()
    places = (here.parent / EXAMPLE, here.parents[2] / "examples" / EXAMPLE)
    found = next((place for place in places if (place / "__main__.py").is_file()), None)
    if found is None:
        raise ConfigurationError(
            f"The example {EXAMPLE} is missing from this installation: install the wheel, or run "
            "it from a checkout"
        )
    return found
