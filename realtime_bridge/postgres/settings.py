"""Where PostgreSQL is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.settings import EnvironmentSettings


@dataclass(frozen=True, kw_only=True)
class PostgresSettings(EnvironmentSettings):
    """Where PostgreSQL is."""

    env_prefix: ClassVar[str] = "REALTIME_POSTGRES_"
    env_aliases: ClassVar[Mapping[str, str]] = {"url": "DATABASE_URL"}

    url: str | None = field(default=None, repr=False)

    @classmethod
    def required(cls) -> str:
        """Return the address.

        Raises:
            ConfigurationError: it is not set.

        """
        url = cls.load().url
        if url is None:
            raise ConfigurationError(
                "REALTIME_POSTGRES_URL is not set: write postgresql://USER:PASSWORD@HOST/DATABASE"
            )
        return url
