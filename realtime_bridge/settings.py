"""The configuration, read once from `REALTIME_*` variables and a `.env` file."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_origin, get_type_hints
from urllib.parse import urlsplit

from msgspec import Meta, ValidationError, convert

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.event import MAX_DATA_BYTES
from realtime_bridge.model.retention import Retention
from realtime_bridge.model.urls import is_loopback, redact

MIN_SECRET_BYTES = 32
"""As long as the hash that HS256 is made with (RFC 7518 §3.2)."""

DEVELOPMENT_SECRET = "realtime-bridge development secret, known to everyone"  # noqa: S105 -- known by design
"""What `serve --dev`, and who publishes to a loopback address, sign with when nothing is set."""

Count = Annotated[int, Meta(ge=1)]
Port = Annotated[int, Meta(ge=1, le=65_535)]

_WORDS = {"on": "true", "yes": "true", "off": "false", "no": "false"}


@dataclass(frozen=True, kw_only=True)
class EnvironmentSettings:
    """Settings that say what is wrong with them, without showing any value.

    Subclasses are dataclasses. A field is read from the variable that is called `env_prefix` and
    the field's name in capitals, or else from the one that `env_aliases` has for it.
    """

    env_prefix: ClassVar[str]
    env_aliases: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def load(cls) -> Self:
        """Read the environment, and a `.env` file in the working directory.

        Raises:
            ConfigurationError: a variable has a value that cannot work, or is missing.

        """
        given = cls.given()
        hints = get_type_hints(cls, include_extras=True)
        values, wrong = {}, []
        for setting in fields(cls):
            if setting.name in given:
                variable, text = given[setting.name]
                try:
                    values[setting.name] = _read(text, hints[setting.name])
                except ValidationError as error:
                    wrong.append(f"{variable}: {error}")
            elif setting.default is MISSING:
                wrong.append(f"{cls._variables(setting.name)[0]}: it is not set")
        if wrong:
            raise _bad("; ".join(wrong))
        return cls(**values)

    @classmethod
    def given(cls) -> dict[str, tuple[str, str]]:
        """Return which of the settings are set: by which variable, and to what."""
        variables = {**_dotenv(), **os.environ}
        return {
            setting.name: (variable, variables[variable])
            for setting in fields(cls)
            for variable in reversed(cls._variables(setting.name))
            if variable in variables
        }

    @classmethod
    def _variables(cls, name: str) -> list[str]:
        own = f"{cls.env_prefix}{name.upper()}"
        return [own, cls.env_aliases[name]] if name in cls.env_aliases else [own]

    @classmethod
    def refuse(cls, name: str, problem: str) -> ConfigurationError:
        """Return what to raise about a setting whose value cannot work."""
        return _bad(f"{cls._variables(name)[0]}: {problem}")


def _bad(wrong: str) -> ConfigurationError:
    return ConfigurationError(f"Bad configuration: {wrong}")


def _dotenv() -> dict[str, str]:
    if not Path(".env").is_file():
        return {}
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(".env").items() if value is not None}


def _read(text: str, hint: Any) -> Any:
    if get_origin(hint) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return convert(_WORDS.get(text.lower(), text) if hint is bool else text, hint, strict=False)


@dataclass(frozen=True, kw_only=True)
class Settings(EnvironmentSettings):
    """What every part of this application shares; each backend reads its own beside it."""

    env_prefix: ClassVar[str] = "REALTIME_"

    backend: str = "websocket"
    """Who delivers: an installed entry point of `realtime_bridge.backends`."""
    log: str = "auto"
    """Who remembers: `auto`, `none`, or the name of a log."""
    failover: tuple[str, ...] = ()
    """Who delivers when that fails, in order; comma-separated. It needs a log."""
    secret: str | None = field(default=None, repr=False)
    """Signs tokens and server-to-server calls; at least 32 bytes."""
    prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")] = "realtime"
    """Namespaces every key, channel and metric of one application."""
    path: Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9_.~-]+)*\Z")] = "/realtime"
    """Where the server mounts itself."""
    origins: tuple[str, ...] = ()
    """Pages that may connect, besides those of the same host; comma-separated."""

    dev: bool = False
    """What `serve --dev` sets: everybody on this machine is trusted."""

    enabled: bool = True
    """Off: every client polls."""
    rollout_percent: Annotated[int, Meta(ge=0, le=100)] = 100
    """The share of users that gets push, the others poll."""

    grace_seconds: Annotated[float, Meta(ge=0)] = 30.0
    """How long a server has from SIGTERM until it is killed; the default is Kubernetes's own."""

    history_events: Count = 1_000
    history_bytes: Count = 1024 * 1024
    history_seconds: Annotated[float, Meta(gt=0)] = 600.0

    limit_connections_per_user: Count = 20
    limit_channels_per_connection: Count = 128
    limit_frames_per_second: Annotated[float, Meta(gt=0)] = 20.0
    limit_frame_bytes: Annotated[int, Meta(ge=1024)] = 64 * 1024
    limit_event_bytes: Annotated[int, Meta(ge=1, le=MAX_DATA_BYTES)] = MAX_DATA_BYTES
    limit_unsent_bytes: Annotated[int, Meta(ge=1024)] = 1024 * 1024

    def __post_init__(self) -> None:
        """Refuse a secret that is guessed too soon."""
        length = MIN_SECRET_BYTES if self.secret is None else len(self.secret.encode())
        if length < MIN_SECRET_BYTES:
            problem = f"{length} bytes are too short, use at least {MIN_SECRET_BYTES}"
            raise self.refuse("secret", f"{problem}: openssl rand -hex 32")

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
            return self.secret
        if is_loopback(urlsplit(url).hostname or ""):
            return DEVELOPMENT_SECRET
        raise ConfigurationError(
            f"REALTIME_SECRET is not set, and {redact(url)} is not on this machine: "
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
        if self.secret == DEVELOPMENT_SECRET:
            raise ConfigurationError(
                "REALTIME_SECRET is the development secret, known to everyone: "
                "make your own with `openssl rand -hex 32`"
            )
        return self.secret
