"""The configuration, read once from `REALTIME_*` variables and a `.env` file."""

import hashlib
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from realtime_bridge.addresses import is_loopback, redacted
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.event import MAX_DATA_BYTES
from realtime_bridge.protocol.history import Retention

MIN_SECRET_BYTES = 32
"""As long as the hash that HS256 is made with (RFC 7518 §3.2)."""

DEVELOPMENT_SECRET = "realtime-bridge development secret, known to everyone"  # noqa: S105 -- known by design
"""What `serve --dev`, and who publishes to a loopback address, sign with when nothing is set."""


class EnvironmentSettings(BaseSettings):
    """Settings that say what is wrong with them, without showing any value."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", hide_input_in_errors=True)

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises:
            ConfigurationError: a variable has a value that cannot work.

        """
        try:
            return cls()
        except ValidationError as error:
            prefix = cls.model_config.get("env_prefix", "")
            wrong = "; ".join(
                f"{prefix}{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
                for problem in error.errors()
            )
            raise ConfigurationError(f"Bad configuration: {wrong}") from None


def _comma_separated(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


class Settings(EnvironmentSettings):
    """What every part of this application shares; each backend reads its own beside it."""

    model_config = SettingsConfigDict(env_prefix="REALTIME_")

    backend: str = "websocket"
    """Who delivers: an installed entry point of `realtime_bridge.backends`."""
    log: str = "auto"
    """Who remembers: `auto`, `none`, or the name of a log."""
    failover: Annotated[tuple[str, ...], NoDecode] = ()
    """Who delivers when that fails, in order; comma-separated. It needs a log."""
    secret: SecretStr | None = None
    """Signs tokens and server-to-server calls; at least 32 bytes."""
    prefix: str = Field(default="realtime", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Namespaces every key, channel and metric of one application."""
    path: str = Field(default="/realtime", pattern=r"^(/[A-Za-z0-9_.~-]+)*$")
    """Where the server mounts itself."""
    origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Pages that may connect, besides those of the same host; comma-separated."""

    dev: bool = False
    """What `serve --dev` sets: everybody on this machine is trusted."""

    enabled: bool = True
    """Off: every client polls."""
    rollout_percent: int = Field(default=100, ge=0, le=100)
    """The share of users that gets push, the others poll."""

    grace_seconds: float = Field(default=30.0, ge=0)
    """How long a server has from SIGTERM until it is killed; the default is Kubernetes's own."""

    history_events: int = Field(default=1_000, ge=1)
    history_bytes: int = Field(default=1024 * 1024, ge=1)
    history_seconds: float = Field(default=600.0, gt=0)

    limit_connections_per_user: int = Field(default=20, ge=1)
    limit_channels_per_connection: int = Field(default=128, ge=1)
    limit_frames_per_second: float = Field(default=20.0, gt=0)
    limit_frame_bytes: int = Field(default=64 * 1024, ge=1024)
    limit_event_bytes: int = Field(default=MAX_DATA_BYTES, ge=1, le=MAX_DATA_BYTES)
    limit_unsent_bytes: int = Field(default=1024 * 1024, ge=1024)

    _split = field_validator("origins", "failover", mode="before")(_comma_separated)

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        length = MIN_SECRET_BYTES if secret is None else len(secret.get_secret_value().encode())
        if length < MIN_SECRET_BYTES:
            raise ValueError(
                f"{length} bytes are too short, use at least {MIN_SECRET_BYTES}: "
                "openssl rand -hex 32"
            )
        return secret

    @property
    def delivery(self) -> str:
        """What clients have to move for when it changes, as a hash without secrets."""
        parts = (self.backend, self.log, self.enabled, self.rollout_percent, self.path)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    @property
    def retention(self) -> Retention:
        """How much history a channel keeps."""
        return Retention(
            events=self.history_events, bytes=self.history_bytes, seconds=self.history_seconds
        )

    def secret_for(self, url: str) -> str:
        """Return the secret with which to talk to the server at `url`.

        Raises:
            ConfigurationError: there is none, and `url` is not on this machine.

        """
        if self.secret:
            return self.secret.get_secret_value()
        if is_loopback(urlsplit(url).hostname or ""):
            return DEVELOPMENT_SECRET
        raise ConfigurationError(
            f"REALTIME_SECRET is not set, and {redacted(url)} is not on this machine: "
            "set the secret that the server there has"
        )

    def server_secret(self) -> str:
        """Return the secret of a server in earnest.

        Raises:
            ConfigurationError: there is none, or it is the one known to everyone.

        """
        if self.secret is None:
            raise ConfigurationError(
                "REALTIME_SECRET is not set: make one with `openssl rand -hex 32` and give it to "
                "the server and its workers, or try things out with `realtime-bridge serve --dev`"
            )
        if self.secret.get_secret_value() == DEVELOPMENT_SECRET:
            raise ConfigurationError(
                "REALTIME_SECRET is the development secret, known to everyone: "
                "make your own with `openssl rand -hex 32`"
            )
        return self.secret.get_secret_value()
