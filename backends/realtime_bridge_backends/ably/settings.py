"""Settings of the Ably backend."""

from typing import Annotated

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from realtime_bridge.environment_settings import EnvironmentSettings, Port, text_of
from realtime_bridge_backends.ably.endpoint import ENDPOINT_PATTERN

_ENDPOINT = text_of(ENDPOINT_PATTERN, "write the host alone; its port has a variable of its own")


class AblySettings(EnvironmentSettings):
    """Ably app to publish through, from `REALTIME_ABLY_*` or Ably's own `ABLY_API_KEY`."""

    model_config = SettingsConfigDict(env_prefix="REALTIME_ABLY_")

    key: Annotated[
        str,
        text_of(r"[\w-]+\.[\w-]+:[\w-]+", "copy the whole key from Ably's dashboard"),
    ] = Field(
        repr=False,
        validation_alias=AliasChoices("REALTIME_ABLY_KEY", "ABLY_API_KEY"),
        examples=["APPID.KEYID:SECRET"],
        description="Key of the app, whole: it names the app and signs tokens.",
    )
    endpoint: Annotated[str, _ENDPOINT] = Field(
        default="main",
        description="Cluster of the app, or the host of a server that speaks Ably's protocol.",
    )
    port: Port | None = Field(
        default=None,
        examples=[443],
        description="Port of that host; by default that of HTTPS or HTTP.",
    )
    tls: bool = Field(default=True, description="Calls and connections are encrypted.")
    client_endpoint: Annotated[str, _ENDPOINT] | None = Field(
        default=None,
        examples=["push.example.com"],
        description="Host at which clients reach that server, if it is another one for them.",
    )
    client_port: Port | None = Field(
        default=None, examples=[443], description="Port at which clients reach that server."
    )
    client_tls: bool | None = Field(
        default=None,
        examples=[True],
        description="Connections of clients are encrypted; by default as `TLS`.",
    )
