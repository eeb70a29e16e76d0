"""Pusher Channels: events in batches over its HTTP API, and permission for its own client."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pusher import Pusher
from pydantic import AliasChoices, Field, SecretStr

from realtime_bridge.backend import Finding, Hosted, Limits, Visitor
from realtime_bridge.errors import AuthRequestError, ConfigurationError, PublishError
from realtime_bridge.event import Event
from realtime_bridge.protocol.packing import packed
from realtime_bridge.protocol.provider_names import ProviderNames
from realtime_bridge.protocol.slices import lanes, slices
from realtime_bridge.settings import EnvironmentSettings
from realtime_bridge_backends.pusher_http import Line, SharedSession

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

EVENT = "realtime"
"""What all our events are called at Pusher; their own name is within the frame."""

LIMITS = Limits(event_bytes=10_240, events=10, channels=100)
"""Of the HTTP API: `data` of an event, encoded; events a batch; channels a trigger."""

MAX_CHANNEL = 164
"""The longest name of a channel at Pusher, its prefix counted."""

LONGEST_PREFIX = MAX_CHANNEL - len("presence-.") - 128

LANES = 8
"""Batches that are under way at once, of different channels."""


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


class PusherBackend(Hosted):
    """Pushes each event as one of ours within one of Pusher's, on a private channel.

    What is over Pusher's limit goes as a stub that clients fetch from the log. Nothing is
    connected before the first push, and anew in another event loop, so that it works where every
    request may be the first of its process.

    Args:
        settings: which app.
        prefix: the application's, between `private-` and the channel.

    Raises:
        ConfigurationError: the prefix leaves too little room for channels' names.

    """

    provider = "pusher"
    limits = LIMITS

    def __init__(self, settings: PusherSettings, *, prefix: str) -> None:
        if len(prefix) > LONGEST_PREFIX:
            raise ConfigurationError(
                f"REALTIME_PREFIX={prefix!r} is too long for Pusher, whose channels have up to "
                f"{MAX_CHANNEL} characters: use at most {LONGEST_PREFIX}"
            )
        self._settings = settings
        self._private = ProviderNames(f"private-{prefix}.")
        self._presence = ProviderNames(f"presence-{prefix}.")
        self._line = Line()
        self._pusher = self._sdk()

    def _sdk(self) -> Pusher:
        chosen = self._settings
        return Pusher(
            chosen.app_id,
            chosen.key,
            chosen.secret.get_secret_value(),
            ssl=chosen.tls,
            host=chosen.host,
            port=chosen.port,
            cluster=chosen.cluster,
            backend=SharedSession,
            line=self._line,
        )

    def __str__(self) -> str:
        return f"Pusher ({self._pusher._pusher_client.host})"

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Make one for the app of `REALTIME_PUSHER_*`."""
        return cls(PusherSettings.load(), prefix=settings.prefix)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._line.close()

    @property
    def options(self) -> Mapping[str, Any]:
        """What pusher-js has to know."""
        chosen = self._settings
        found = {"key": chosen.key, "cluster": chosen.cluster}
        place = (
            {"host": chosen.host, "port": self._pusher._pusher_client.port, "tls": chosen.tls}
            if chosen.host
            else {}
        )
        return found | place | {"channel_prefix": self._private.start}

    async def push(self, events: Sequence[Event]) -> None:
        """Push in batches of ten, each channel's in order, several channels' side by side."""
        waiting = [(event.channel, self._pack(event)) for event in events]
        sending = map(self._send, lanes(waiting, LANES))
        for failure in await asyncio.gather(*sending, return_exceptions=True):
            if failure:
                raise failure

    async def _send(self, lane: Sequence[dict[str, str]]) -> None:
        for batch in slices(lane, LIMITS.events):
            await self._pusher.trigger_batch(batch, already_encoded=True)

    def _pack(self, event: Event) -> dict[str, str]:
        frame = packed(event, LIMITS.event_bytes, "Pusher")
        channel = self._private.encode(event.channel)
        return {"channel": channel, "name": EVENT, "data": frame.decode()}

    async def authorize(
        self, fields: Mapping[str, str], visitor: Visitor
    ) -> Mapping[str, Any] | None:
        """Sign a subscription of pusher-js: `socket_id` and `channel_name`."""
        name, socket_id = fields.get("channel_name", ""), fields.get("socket_id", "")
        present = self._presence.decode(name)
        channel = present or self._private.decode(name)
        if channel is None or not await visitor.allow(channel):
            return None
        member = {"user_id": visitor.user, "user_info": {}} if present else None
        try:
            answer: Mapping[str, Any] = self._pusher.authenticate(name, socket_id, member)
        except ValueError as error:
            raise AuthRequestError("Send socket_id, as pusher-js does") from error
        return answer

    async def diagnose(self) -> list[Finding]:
        """Ask for the app's channels: whether it is there, and ours."""
        try:
            await self._pusher.channels_info("private-", [])
        except PublishError as error:
            return [Finding(check="pusher", verdict="failed", detail=str(error))]
        detail = f"{self} answers, and knows our key and secret"
        return [Finding(check="pusher", verdict="ok", detail=detail)]
