"""Settings of the PostgreSQL log, its triggers and its relay."""

from typing import ClassVar

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from realtime_bridge.environment_settings import EnvironmentSettings
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.postgres.scheme import has_other_scheme


class PostgresSettings(EnvironmentSettings):
    """Database of the log, from `REALTIME_POSTGRES_URL` or the customary `DATABASE_URL`."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="REALTIME_POSTGRES_")

    url: str | None = Field(
        default=None,
        repr=False,
        validation_alias=AliasChoices("REALTIME_POSTGRES_URL", "DATABASE_URL"),
        examples=["postgresql://USER:PASSWORD@HOST/DATABASE"],
        description="Address of the database, with its credentials.",
    )

    @property
    def is_postgres(self) -> bool:
        """True if a database is set: `DATABASE_URL` may name one of another kind."""
        return self.url is not None and not has_other_scheme(self.url)

    @classmethod
    def required_url(cls) -> str:
        """Return the address of the database.

        Raises:
            ConfigurationError: no address is set.

        """
        url = cls.load().url
        if url is None:
            raise ConfigurationError(
                "REALTIME_POSTGRES_URL is not set: write postgresql://USER:PASSWORD@HOST/DATABASE"
            )
        return url
