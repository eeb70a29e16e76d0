"""Settings of the Redis backend."""

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from realtime_bridge.environment_settings import EnvironmentSettings


class RedisSettings(EnvironmentSettings):
    """Redis server of the log, from `REALTIME_REDIS_URL` or the customary `REDIS_URL`."""

    model_config = SettingsConfigDict(env_prefix="REALTIME_REDIS_")

    url: str = Field(
        default="redis://127.0.0.1:6379/0",
        repr=False,
        validation_alias=AliasChoices("REALTIME_REDIS_URL", "REDIS_URL"),
        description="Address of the server, with its credentials.",
    )
