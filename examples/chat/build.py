"""Bundle of the page, made as an application's own build makes it."""

import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLIENT = HERE.parents[1] / "clients" / "js"


class BuildError(Exception):
    """Failure of the build."""


def build(target: Path) -> None:
    """Write the page into a folder.

    Raises:
        BuildError: `clients/js` or its packages are missing.

    """
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "page" / "index.html", target)
    # Not minified: StrictMode does its double work in a build for development only.
    command = [
        *(CLIENT / "node_modules" / ".bin" / "esbuild", HERE / "page" / "main.jsx"),
        *("--bundle", "--format=esm", "--jsx=automatic", "--log-level=warning"),
        *(f"--alias:realtime-bridge/{name}={CLIENT}/src/{name}" for name in ("ai", "react")),
        f"--outdir={target}",
    ]
    environment = os.environ | {"NODE_PATH": str(CLIENT / "node_modules")}
    try:
        subprocess.run(command, env=environment, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise BuildError(f"The page needs clients/js and its packages: {error}") from error
