"""Environment of a process: its settings, and a warning about misspelt variables."""

import logging
import os
from collections.abc import Iterator
from functools import cache

from pydantic_settings import DotEnvSettingsSource

from realtime_bridge.backend.plugins import BUILT_IN, import_object, installed_backends
from realtime_bridge.environment_settings import EnvironmentSettings
from realtime_bridge.settings import Settings

PREFIX = "REALTIME_"

SIMILARITY = 0.75
"""Ratio of `difflib` from which a name counts as a misspelling: REDIS_ULR has 0.89."""

_logger = logging.getLogger("realtime_bridge.settings")


def load_settings() -> Settings:
    """Read the environment, and warn once about each misspelt `REALTIME_…` variable.

    Raises:
        ConfigurationError: a variable has a value that cannot work.

    """
    settings = Settings.load()
    for variable, nearest in misspelt_variables():
        _warn(variable, nearest)
    return settings


def misspelt_variables() -> list[tuple[str, str]]:
    """Return the misspelt `REALTIME_…` variables that are set, each with the nearest known one."""
    return [
        (variable, nearest)
        for variable in sorted(_unknown_variables())
        if (nearest := _nearest(variable)) and not _is_of_other_backend(variable)
    ]


def _unknown_variables() -> set[str]:
    """Return the variables with our prefix that no setting of the core or its backend reads."""
    names = {*os.environ, *map(str.upper, DotEnvSettingsSource(Settings).env_vars)}
    unknown = {name for name in names if name.startswith(PREFIX)} - _variables(Settings)
    for backend in BUILT_IN:
        # A backend's settings are loaded only where the environment has its prefix: a cold start.
        if any(name.startswith(f"{PREFIX}{backend.upper()}_") for name in unknown):
            unknown -= _backend_variables(backend)
    return unknown


def _nearest(variable: str) -> str | None:
    """Return the known variable that this one resembles, if one does."""
    from difflib import get_close_matches

    known = _variables(Settings).union(*map(_backend_variables, BUILT_IN))
    # The common prefix would make all names similar.
    names = [name.removeprefix(PREFIX) for name in known if name.startswith(PREFIX)]
    matches = get_close_matches(variable.removeprefix(PREFIX), names, n=1, cutoff=SIMILARITY)
    return f"{PREFIX}{matches[0]}" if matches else None


def _variables(settings: type[EnvironmentSettings]) -> set[str]:
    return {variable for name in settings.model_fields for variable in settings.variables(name)}


def _backend_variables(name: str) -> set[str]:
    settings = BUILT_IN[name].settings
    return _variables(import_object(settings)) if settings else set()


def _is_of_other_backend(variable: str) -> bool:
    """Return whether a backend of another package has this prefix: its settings are not known."""
    others: Iterator[str] = (name for name in installed_backends() if name not in BUILT_IN)
    return any(variable.startswith(f"{PREFIX}{name.upper()}_") for name in others)


@cache
def _warn(variable: str, nearest: str) -> None:
    _logger.warning("unknown variable name=%s nearest=%s", variable, nearest)
