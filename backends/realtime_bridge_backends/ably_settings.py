"""Which app of which Ably cluster, from `REALTIME_ABLY_*` or the vendor's own variable."""

import re
from typing import Any

from pydantic import AliasChoices, Field, SecretStr, field_validator

from realtime_bridge.settings import EnvironmentSettings

_KEY = re.compile(r"[\w-]+\.[\w-]+:[\w-]+")


def _named(name: str, *more: str, **options: Any) -> Any:
    """Return a setting of this name, or of the vendor's customary ones."""
    return Field(validation_alias=AliasChoices(f"REALTIME_ABLY_{name}", *more), **options)


class AblySettings(EnvironmentSettings):
    """The app's key; endpoint and port for a cluster of your own, or a server on this machine."""

    key: SecretStr = _named("KEY", "ABLY_API_KEY")
    endpoint: str = _named("ENDPOINT", default="main", pattern=r"^[A-Za-z0-9.:-]+$")
    port: int | None = _named("PORT", default=None, ge=1, le=65535)
    tls: bool = _named("TLS", default=True)

    @field_validator("key")
    @classmethod
    def _whole(cls, key: SecretStr) -> SecretStr:
        if not _KEY.fullmatch(key.get_secret_value()):
            raise ValueError("copy the whole key from Ably's dashboard: APPID.KEYID:SECRET")
        return key
