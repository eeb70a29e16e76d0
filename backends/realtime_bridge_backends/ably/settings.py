"""Settings of the Ably backend."""

from typing import Annotated

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from realtime_bridge.settings import EnvironmentSettings, Port, text_of


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
    endpoint: Annotated[str, text_of(r"[A-Za-z0-9.:-]+", "write a host's name")] = Field(
        default="main",
        description="Cluster of the app, or the host of a server that speaks Ably's protocol.",
    )
    port: Port | None = Field(
        default=None,
        examples=[443],
        description="Port of that host; by default that of HTTPS or HTTP.",
    )
    tls: bool = Field(default=True, description="Calls and connections are encrypted.")
