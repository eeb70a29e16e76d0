"""Command line `realtime-bridge`."""

import sys

from realtime_bridge.errors import ExtraNotInstalledError


def main() -> None:
    """Run the command line, or exit with the package that is missing."""
    try:
        from realtime_bridge.cli.app import app

        app()
    except ExtraNotInstalledError as error:
        sys.exit(f"error: {error}")
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("realtime_bridge"):
            raise
        sys.exit(
            f"The command line needs {error.name!r}, which is not installed. "
            "Run: pip install 'realtime-bridge[server]'"
        )
