"""Which app of Pusher's this deployment uses, read from the environment.

Apart from the backend, for who gives it plain values saves what reading the environment costs.
"""

from typing import Any

from pydantic import AliasChoices, Field, SecretStr

from realtime_bridge.settings import EnvironmentSettings


def _named(name: str, **more: Any) -> Any:
    """Return a setting of this name, or of the vendor's customary one."""
    return Field(validation_alias=AliasChoices(f"REALTIME_PUSHER_{name}", f"PUSHER_{name}"), **more)


class PusherSettings(EnvironmentSettings):
    """Which app of which cluster; host and port for a server that is not Pusher's own."""

    app_id: str = _named("APP_ID", pattern=r"^[0-9]+$")
    key: str = _named("KEY", min_length=1)
    secret: SecretStr = _named("SECRET", min_length=1)
    cluster: str | None = _named("CLUSTER", default=None, pattern=r"^[a-z0-9-]+$")
    host: str | None = _named("HOST", default=None, pattern=r"^[A-Za-z0-9.:-]+$")
    port: int | None = _named("PORT", default=None, ge=1, le=65535)
    tls: bool = _named("TLS", default=True)
