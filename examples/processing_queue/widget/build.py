"""Bundle of the page with `ProcessingWidget`, made as an application's own build makes it."""

import os
import shutil
import subprocess
from pathlib import Path

from configuration import Configuration
from variant import LaunchError

HERE = Path(__file__).resolve().parent
CLIENT = HERE.parents[2] / "clients" / "js"
ESBUILD = CLIENT / "node_modules" / ".bin" / "esbuild"


def build() -> None:
    """Write the page into the data folder.

    Raises:
        LaunchError: `clients/js` or its packages are missing.

    """
    page = Configuration.from_env().data / "page"
    page.mkdir(exist_ok=True)
    for part in (HERE / "index.html", HERE.parent / "static" / "icon.svg"):
        shutil.copy(part, page)
    command = [
        *(ESBUILD, HERE / "main.jsx", "--bundle", "--format=esm", "--minify", "--jsx=automatic"),
        f"--alias:realtime-bridge/react={CLIENT}/src/react",
        f"--outdir={page}",
        "--log-level=warning",
    ]
    environment = os.environ | {"NODE_PATH": str(CLIENT / "node_modules")}
    try:
        subprocess.run(command, env=environment, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise LaunchError(f"The page needs clients/js and its packages: {error}") from error
