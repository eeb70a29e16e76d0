"""Settings of the WebSocket backend."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from realtime_bridge.environment_settings import EnvironmentSettings, text_of
from realtime_bridge.model.urls import is_well_formed


def _check_parts(url: str) -> str:
    if not is_well_formed(url):
        raise ValueError("write special characters of a password as codes, %2F for /")
    return url


class WebSocketSettings(EnvironmentSettings):
    """Server to publish through, from `REALTIME_WEBSOCKET_URL`."""

    model_config = SettingsConfigDict(env_prefix="REALTIME_WEBSOCKET_")

    url: Annotated[
        str,
        text_of(r"(https?|wss?)://[^/?#]+[^?#]*", "write the address at which it is mounted"),
        AfterValidator(_check_parts),
    ] = Field(
        default="http://127.0.0.1:8000/realtime",
        repr=False,
        description="Address at which the server is mounted.",
    )
