"""Settings of the SQLite log."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from realtime_bridge.environment_settings import EnvironmentSettings
from realtime_bridge.errors import ConfigurationError


def _check_absolute(path: str) -> str:
    if not Path(path).is_absolute():
        raise ValueError("write an absolute path: servers and workers start in different folders")
    return path


class SQLiteSettings(EnvironmentSettings):
    """File of the log, from `REALTIME_SQLITE_PATH`."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="REALTIME_SQLITE_")

    path: Annotated[str, AfterValidator(_check_absolute)] | None = Field(
        default=None,
        examples=["/var/lib/app/log.db"],
        description="Absolute path of the log's file, the same for all processes of this machine.",
    )

    @classmethod
    def required_path(cls) -> str:
        """Return the path of the file.

        Raises:
            ConfigurationError: no path is set.

        """
        path = cls.load().path
        if path is None:
            raise ConfigurationError(
                "REALTIME_SQLITE_PATH is not set: write the absolute path of the log's file, such "
                "as /var/lib/app/log.db, for the server and its workers"
            )
        return path
