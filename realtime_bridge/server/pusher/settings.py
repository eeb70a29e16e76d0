"""Credentials of the app as which a server speaks Pusher's protocol."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from realtime_bridge.environment_settings import EnvironmentSettings, text_of
from realtime_bridge.protocol.pusher.signatures import PusherApp


def _either(name: str) -> AliasChoices:
    """Return our variable, then the customary one of Pusher's own libraries."""
    return AliasChoices(f"REALTIME_PUSHER_{name}", f"PUSHER_{name}")


MIN_SECRET_BYTES = 16
"""Pusher's secrets have 20: each client sees signatures, and can try short secrets at home."""


def _check_length(secret: str) -> str:
    length = len(secret.encode())
    if length < MIN_SECRET_BYTES:
        raise ValueError(f"{length} bytes are too short, use at least {MIN_SECRET_BYTES}")
    return secret


class PusherAppSettings(EnvironmentSettings):
    """App of `REALTIME_PUSHER_*`: the variables of the hosted backend, so that moving is easy."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="REALTIME_PUSHER_")

    app_id: Annotated[str, text_of(r"[\w.-]+", "write the app's id")] = Field(
        validation_alias=_either("APP_ID"), examples=["1001"], description="Id of the app."
    )
    key: Annotated[str, text_of(r"[\w.-]+", "use letters, digits, _ . and -")] = Field(
        validation_alias=_either("KEY"),
        examples=["app-key"],
        description="Key with which clients connect.",
    )
    secret: Annotated[str, AfterValidator(_check_length)] = Field(
        repr=False,
        validation_alias=_either("SECRET"),
        examples=["$(openssl rand -hex 32)"],
        description="Secret that signs calls and subscriptions.",
    )

    @property
    def app(self) -> PusherApp:
        """The credentials."""
        return PusherApp(self.app_id, self.key, self.secret)
