"""Settings of the Pusher backend."""

from typing import Annotated

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from realtime_bridge.environment_settings import EnvironmentSettings, Port, text_of
from realtime_bridge.model.urls import HOST_PATTERN

_HOST = text_of(HOST_PATTERN, "write the host alone; its port has a variable of its own")


def _either(name: str) -> AliasChoices:
    """Return our variable, then the customary one of Pusher's own libraries."""
    return AliasChoices(f"REALTIME_PUSHER_{name}", f"PUSHER_{name}")


class PusherSettings(EnvironmentSettings):
    """Pusher app to publish through, from `REALTIME_PUSHER_*` or the customary `PUSHER_*`."""

    model_config = SettingsConfigDict(env_prefix="REALTIME_PUSHER_")

    app_id: Annotated[str, text_of(r"[\w.-]+", "write the app's id")] = Field(
        validation_alias=_either("APP_ID"),
        examples=["1234567"],
        description="Id of the app; at Pusher, a number.",
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
        description="Cluster of the app; without a cluster and a host, `mt1`.",
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
    client_host: Annotated[str, _HOST] | None = Field(
        default=None,
        examples=["push.example.com"],
        description="Host at which browsers reach that server, if it is another one for them.",
    )
    client_port: Port | None = Field(
        default=None, examples=[443], description="Port at which browsers reach that server."
    )
    client_tls: bool | None = Field(
        default=None,
        examples=[True],
        description="Connections of browsers are encrypted; by default as `TLS`.",
    )
