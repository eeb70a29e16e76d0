"""Which app of which Ably cluster, from `REALTIME_ABLY_*` or the vendor's own variable."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from msgspec import Meta

from realtime_bridge.settings import EnvironmentSettings, Port

_KEY = re.compile(r"[\w-]+\.[\w-]+:[\w-]+")


@dataclass(frozen=True, kw_only=True)
class AblySettings(EnvironmentSettings):
    """The app's key; endpoint and port for a cluster of your own, or a server on this machine."""

    env_prefix: ClassVar[str] = "REALTIME_ABLY_"
    env_aliases: ClassVar[Mapping[str, str]] = {"key": "ABLY_API_KEY"}

    key: str = field(repr=False)
    endpoint: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.:-]+\Z")] = "main"
    port: Port | None = None
    tls: bool = True

    def __post_init__(self) -> None:
        """Refuse a part of a key."""
        if not _KEY.fullmatch(self.key):
            raise self.refuse("key", "copy the whole key from Ably's dashboard: APPID.KEYID:SECRET")
