"""Settings that every part of an application shares, read from `REALTIME_*` variables.

This module loads pydantic: import it where the configuration is read, not in each worker.
"""

import hashlib
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from realtime_bridge.environment_settings import (
    MAX_COUNT,
    ByteCount,
    Count,
    EnvironmentSettings,
    Names,
    text_of,
)
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.event_data import MAX_DATA_BYTES
from realtime_bridge.model.origins import normalize_origins
from realtime_bridge.model.retention import Retention
from realtime_bridge.model.secret_list import check_secrets, split_secrets
from realtime_bridge.model.urls import is_loopback, redact
from realtime_bridge.model.webhook_secrets import signing_keys

DEVELOPMENT_SECRET = "realtime-bridge development secret: known to everyone"  # noqa: S105 -- public by design
"""Secret of `serve --dev`, and of publishers to a loopback address, when none is set."""

_PATH_FORM = "start each part with / and use letters, digits, _ . ~ and -"


def _check_webhook_secrets(text: str) -> str:
    signing_keys(text)
    return text


class Settings(EnvironmentSettings):
    """Settings that every part of an application shares; each backend has its own beside them.

    `Settings.load()` reads the environment; `Settings(backend="memory")` takes plain values.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="REALTIME_")

    backend: str = Field(
        default="websocket",
        description="Backend that delivers the events: a built-in one, or the name of an entry "
        "point in the group `realtime_bridge.backends`.",
    )
    log: str = Field(
        default="auto",
        description="Log that stores the events: `auto`, `none`, or the name of a backend.",
    )
    failover: Names = Field(
        default=(),
        description="Backends that deliver when the first one fails, in order; separated by "
        "commas. They need a log.",
    )
    mirror: str | None = Field(
        default=None,
        examples=["pusher"],
        description="Backend that gets a copy of each event, beside the publish: a provider that "
        "an application moves away from, or to.",
    )
    secret: Annotated[str, AfterValidator(check_secrets)] | None = Field(
        default=None,
        repr=False,
        examples=["$(openssl rand -hex 32)"],
        description="Secret that signs tokens and calls between servers; at least 32 bytes. "
        "Several are separated by commas: the first signs, all verify.",
    )
    prefix: Annotated[
        str, text_of(r"[A-Za-z0-9_-]{1,64}", "use 1 to 64 letters, digits, _ and -")
    ] = Field(
        default="realtime",
        description="Namespace of every key, channel and metric of one application.",
    )
    path: Annotated[str, text_of(r"(/[A-Za-z0-9_.~-]+)*", _PATH_FORM)] = Field(
        default="/realtime", description="Path at which the server is mounted."
    )
    origins: Annotated[Names, AfterValidator(normalize_origins)] = Field(
        default=(),
        examples=["https://app.example.com"],
        description="Origins of pages that may connect, besides those of the server's own host; "
        "separated by commas. `https://*.example.com` stands for all subdomains.",
    )
    dev: bool = Field(
        default=False,
        description="Development mode of `serve --dev`: every user of this machine is trusted.",
    )
    dev_hosts: Names = Field(
        default=(),
        description="Other hosts that a development server trusts: names in the `Host` header and "
        "addresses of clients; separated by commas.",
    )
    enabled: bool = Field(
        default=True, description="Push is on; when it is off, every client polls."
    )
    rollout_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=100, description="Percentage of users that get push; the others poll."
    )
    grace_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=30.0,
        description="Seconds from SIGTERM until the platform kills the server (30 in Kubernetes).",
    )
    history_events: Count = Field(default=1_000, description="Events that a channel keeps.")
    history_bytes: ByteCount = Field(
        default=1024**2, description="Bytes of data that a channel keeps."
    )
    history_seconds: Annotated[float, Field(gt=0, le=604_800)] = Field(
        # Logs keep the epoch of a quiet channel for 7 days: later, its history would have no name.
        default=600.0,
        description="Seconds for which a channel keeps events after its last one.",
    )
    log_bytes: ByteCount = Field(default=256 * 1024**2, description="Bytes of a log in memory.")
    limit_connections_per_user: Count = Field(default=20, description="Connections of one user.")
    limit_channels_per_connection: Count = Field(
        # The names of so many channels fit into one frame, with which a page leaves them all.
        default=400,
        description="Channels that one connection may subscribe to.",
    )
    limit_frames_per_second: Annotated[float, Field(gt=0, le=1e9)] = Field(
        default=20.0, description="Frames that one client may send per second."
    )
    limit_frame_bytes: Annotated[int, Field(ge=1024, le=MAX_COUNT)] = Field(
        default=64 * 1024, description="Bytes of one frame from a client."
    )
    limit_event_bytes: Annotated[int, Field(ge=1, le=MAX_DATA_BYTES)] = Field(
        default=MAX_DATA_BYTES, description="Bytes of one event's data, encoded as JSON."
    )
    large_integers: bool = Field(default=False, description="Events may have integers over 2^53.")
    outlet_secret: Annotated[str, AfterValidator(_check_webhook_secrets)] | None = Field(
        default=None,
        repr=False,
        examples=["whsec_$(openssl rand -base64 32)"],
        description="Secret that signs what outlets deliver; several are separated by commas, and "
        "all of them sign.",
    )
    outlet_private: bool = Field(
        default=False,
        description="Outlets may deliver to private addresses, and without TLS: for development.",
    )
    undeclared_events: Literal["allow", "warn", "refuse"] = Field(
        default="allow",
        description="Events that no class declares: `allow`, `warn` or `refuse`; see "
        "`realtime_bridge.events`.",
    )
    limit_unsent_bytes: Annotated[int, Field(ge=1024, le=MAX_COUNT)] = Field(
        default=1024 * 1024,
        description="Bytes that may wait for one slow client before its connection is closed.",
    )

    pusher_door: bool = Field(
        default=False,
        description="The server speaks Pusher's protocol too, as the app of `REALTIME_PUSHER_*`.",
    )
    pusher_door_client_events: bool = Field(
        default=False, description="Pusher's clients may send events to each other."
    )
    pusher_door_bytes: Annotated[int, Field(ge=1, le=MAX_DATA_BYTES)] = Field(
        default=10_240, description="Bytes of the data of one event of Pusher's libraries."
    )

    pusher_door_webhooks: Names = Field(
        default=(),
        repr=False,
        examples=["https://app.example.com/pusher/webhook"],
        description="URLs that get Pusher's webhooks about channels and members; separated by "
        "commas.",
    )

    @property
    def delivery(self) -> str:
        """Hash of the settings whose change makes clients connect again; it has no secret."""
        # Clients see it: a secret in it could be guessed offline.
        parts = (
            *(self.backend, self.log, self.enabled, self.rollout_percent, self.path),
            *(self.limit_channels_per_connection, self.limit_frame_bytes),
            self.limit_frames_per_second,
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    @property
    def retention(self) -> Retention:
        """Amount of history that a channel keeps."""
        return Retention(
            events=self.history_events, bytes=self.history_bytes, seconds=self.history_seconds
        )

    def secret_for(self, url: str) -> str:
        """Return the secret, or the list of secrets, that the server at `url` shares.

        Raises:
            ConfigurationError: no secret is set, and `url` is not on this machine.

        """
        if self.secret:
            return self.secret
        # Only processes of this machine reach that server: a known secret protects as well.
        if is_loopback(urlsplit(url).hostname or ""):
            return DEVELOPMENT_SECRET
        raise ConfigurationError(
            f"REALTIME_SECRET is not set, and {redact(url)} is not on this machine: "
            "set the secret that the server there has"
        )

    def server_secret(self, *, dev: bool = False) -> str:
        """Return the secret, or the list of secrets, of a server.

        Args:
            dev: whether it is a development server, which has a well-known secret.

        Raises:
            ConfigurationError: no secret is set, or the development secret is among them.

        """
        if dev:
            return DEVELOPMENT_SECRET
        if self.secret is None:
            raise ConfigurationError(
                "REALTIME_SECRET is not set: make one with `openssl rand -hex 32` and give it to "
                "the server and its workers, or try things out with `realtime-bridge serve --dev`"
            )
        if DEVELOPMENT_SECRET in split_secrets(self.secret):
            raise ConfigurationError(
                "REALTIME_SECRET has the development secret, known to everyone: "
                "make your own with `openssl rand -hex 32`"
            )
        return self.secret
