"""Settings of the WebSocket backend."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from realtime_bridge.settings import EnvironmentSettings, text_of


class WebSocketSettings(EnvironmentSettings):
    """Server to publish through, from `REALTIME_WEBSOCKET_URL`."""

    model_config = SettingsConfigDict(env_prefix="REALTIME_WEBSOCKET_")

    url: Annotated[
        str,
        text_of(r"(https?|wss?)://[^/?#]+[^?#]*", "write the address at which it is mounted"),
    ] = Field(
        default="http://127.0.0.1:8000/realtime",
        repr=False,
        description="Address at which the server is mounted.",
    )
