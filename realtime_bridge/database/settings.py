"""Where PostgreSQL is."""

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.settings import EnvironmentSettings


class PostgresSettings(EnvironmentSettings):
    """Where PostgreSQL is."""

    model_config = SettingsConfigDict(env_prefix="REALTIME_POSTGRES_")

    url: str | None = Field(
        None, validation_alias=AliasChoices("REALTIME_POSTGRES_URL", "DATABASE_URL")
    )

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
