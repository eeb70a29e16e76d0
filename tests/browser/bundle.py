"""Scripts of test pages, bundled with the client from its sources."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "js"


def bundle(name: str) -> str:
    """Return the script of a page of this folder."""
    bundled = subprocess.run(
        [
            CLIENT / "node_modules" / ".bin" / "esbuild",
            ROOT / "tests" / "browser" / name,
            *("--bundle", "--format=esm", "--jsx=automatic", "--external:ably"),
            *("--external:pusher-js", '--define:process.env.NODE_ENV="development"'),
        ],
        env={"NODE_PATH": str(CLIENT / "node_modules")},
        cwd=CLIENT,
        capture_output=True,
        text=True,
        check=True,
    )
    return bundled.stdout
