"""Scripts of test pages, bundled with the client from its sources."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "js"


SDKS = ("ably", "pusher-js")


def bundle(name: str, *, with_sdks: bool = False) -> str:
    """Return the script of a page of this folder, with the SDKs of the providers or without."""
    external = [] if with_sdks else [f"--external:{sdk}" for sdk in SDKS]
    bundled = subprocess.run(
        [
            CLIENT / "node_modules" / ".bin" / "esbuild",
            ROOT / "tests" / "browser" / name,
            *("--bundle", "--format=esm", "--jsx=automatic", *external),
            '--define:process.env.NODE_ENV="development"',
        ],
        env={"NODE_PATH": str(CLIENT / "node_modules")},
        cwd=CLIENT,
        capture_output=True,
        text=True,
        check=True,
    )
    return bundled.stdout
