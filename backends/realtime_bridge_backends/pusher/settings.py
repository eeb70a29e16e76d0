"""Settings of the Pusher backend."""

from typing import Annotated

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from realtime_bridge.settings import EnvironmentSettings, Port, text_of

_HOST = text_of(r"[A-Za-z0-9.:-]+", "write a host's name or address")


def _either(name: str) -> AliasChoices:
    """Return our variable, then the customary one of Pusher's own libraries."""
    return AliasChoices(f"REALTIME_PUSHER_{name}", f"PUSHER_{name}")


class PusherSettings(EnvironmentSettings):
    """Pusher app to publish through, from `REALTIME_PUSHER_*` or the customary `PUSHER_*`."""

    model_config = SettingsConfigDict(env_prefix="REALTIME_PUSHER_")

    app_id: Annotated[str, text_of(r"[0-9]+", "write the app's number")] = Field(
        validation_alias=_either("APP_ID"),
        examples=["1234567"],
        description="Number of the app.",
    )
    key: Annotated[str, Field(min_length=1)] = Field(
        validation_alias=_either("KEY"),
        examples=["KEY"],
        description="Key of the app, with which browsers connect.",
    )
    secret: Annotated[str, Field(min_length=1)] = Field(
        repr=False,
        validation_alias=_either("SECRET"),
        examples=["SECRET"],
        description="Secret of the app, which signs calls and subscriptions.",
    )
    cluster: Annotated[str, text_of(r"[a-z0-9-]+", "write a cluster's name")] | None = Field(
        default=None,
        validation_alias=_either("CLUSTER"),
        examples=["eu"],
        description="Cluster of the app.",
    )
    host: Annotated[str, _HOST] | None = Field(
        default=None,
        validation_alias=_either("HOST"),
        examples=["127.0.0.1"],
        description="Host of a server that speaks Pusher's protocol, instead of Pusher's own.",
    )
    port: Port | None = Field(
        default=None,
        validation_alias=_either("PORT"),
        examples=[443],
        description="Port of that host; by default that of HTTPS or HTTP.",
    )
    tls: bool = Field(
        default=True,
        validation_alias=_either("TLS"),
        description="Calls and connections are encrypted.",
    )
