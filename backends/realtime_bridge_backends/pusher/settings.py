"""Which app of Pusher's this deployment uses, from `REALTIME_PUSHER_*` or `PUSHER_*`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from msgspec import Meta

from realtime_bridge.settings import EnvironmentSettings, Port

_CUSTOMARY = ("app_id", "key", "secret", "cluster", "host", "port", "tls")


@dataclass(frozen=True, kw_only=True)
class PusherSettings(EnvironmentSettings):
    """Which app of which cluster; host and port for a server that is not Pusher's own."""

    env_prefix: ClassVar[str] = "REALTIME_PUSHER_"
    env_aliases: ClassVar[Mapping[str, str]] = {
        name: f"PUSHER_{name.upper()}" for name in _CUSTOMARY
    }

    app_id: Annotated[str, Meta(pattern=r"^[0-9]+\Z")]
    key: Annotated[str, Meta(min_length=1)]
    secret: Annotated[str, Meta(min_length=1)] = field(repr=False)
    cluster: Annotated[str, Meta(pattern=r"^[a-z0-9-]+\Z")] | None = None
    host: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.:-]+\Z")] | None = None
    port: Port | None = None
    tls: bool = True
