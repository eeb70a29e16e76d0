"""Settings of a command, loaded on use: pydantic takes most of the start of `--help`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings


def load_settings() -> "Settings":
    """Read the environment, and warn once about each misspelt `REALTIME_…` variable.

    Raises:
        ConfigurationError: a variable has a value that cannot work.

    """
    from realtime_bridge.backend import environment

    return environment.load_settings()
