"""Pusher Channels: events in batches over its HTTP API, and permission for its own client."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pusher import Pusher

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.hosted import AuthorizationRequest, HostedBackend
from realtime_bridge.backend.push import PushLimits
from realtime_bridge.errors import AuthRequestError, ConfigurationError, PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.publishing.chunks import chunked, partition_by_channel
from realtime_bridge.protocol.wire.provider_names import ProviderNames
from realtime_bridge.protocol.wire.stubs import encode_or_stub
from realtime_bridge_backends.pusher.http import Line, SharedSession

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

EVENT = "realtime"
"""What all our events are called at Pusher; their own name is within the frame."""

LIMITS = PushLimits(event_bytes=10_240, events=10, channels=100)
"""Of the HTTP API: `data` of an event, encoded; events a batch; channels a trigger."""

MAX_CHANNEL = 164
"""The longest name of a channel at Pusher, its prefix counted."""

LONGEST_PREFIX = MAX_CHANNEL - len("presence-.") - 128

LANES = 8
"""Batches that are under way at once, of different channels."""


class PusherBackend(HostedBackend):
    """Pushes each event as one of ours within one of Pusher's, on a private channel.

    What is over Pusher's limit goes as a stub that clients fetch from the log. Nothing is
    connected before the first push, and anew in another event loop, so that it works where every
    request may be the first of its process.

    Args:
        app_id: the app's number.
        key: what browsers connect with.
        secret: what calls and subscriptions are signed with.
        cluster: where the app is, such as `eu`.
        host: a server that speaks Pusher's protocol, instead of Pusher's own.
        port: of that server; by default that of HTTPS or HTTP.
        tls: whether calls and sockets are encrypted.
        prefix: the application's, between `private-` and the channel.

    Raises:
        ConfigurationError: the prefix leaves too little room for channels' names.

    """

    provider = "pusher"
    limits = LIMITS

    def __init__(
        self,
        app_id: str,
        key: str,
        secret: str,
        *,
        cluster: str | None = None,
        host: str | None = None,
        port: int | None = None,
        tls: bool = True,
        prefix: str = "realtime",
    ) -> None:
        if len(prefix) > LONGEST_PREFIX:
            raise ConfigurationError(
                f"REALTIME_PREFIX={prefix!r} is too long for Pusher, whose channels have up to "
                f"{MAX_CHANNEL} characters: use at most {LONGEST_PREFIX}"
            )
        self._private = ProviderNames(f"private-{prefix}.")
        self._presence = ProviderNames(f"presence-{prefix}.")
        self._line = Line()
        where = {"cluster": cluster, "host": host, "port": port, "ssl": tls}
        how = {"backend": SharedSession, "line": self._line}
        self._pusher = Pusher(app_id, key, secret, **where, **how)
        self._options: dict[str, Any] = {
            "key": key,
            "cluster": cluster,
            "channel_prefix": self._private.start,
        }
        if host:
            place = {"host": host, "port": self._pusher._pusher_client.port, "tls": tls}
            self._options |= place

    def __str__(self) -> str:
        return f"Pusher ({self._pusher._pusher_client.host})"

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Make one for the app of `REALTIME_PUSHER_*`."""
        from realtime_bridge_backends.pusher.settings import PusherSettings

        chosen = PusherSettings.load()
        return cls(
            chosen.app_id,
            chosen.key,
            chosen.secret,
            cluster=chosen.cluster,
            host=chosen.host,
            port=chosen.port,
            tls=chosen.tls,
            prefix=settings.prefix,
        )

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
        return self._options

    async def push(self, events: Sequence[Event]) -> None:
        """Push in batches of ten, each channel's in order, several channels' side by side."""
        waiting = [(event.channel, self._pack(event)) for event in events]
        sending = map(self._send, partition_by_channel(waiting, LANES))
        for failure in await asyncio.gather(*sending, return_exceptions=True):
            if failure:
                raise failure

    async def _send(self, lane: Sequence[dict[str, str]]) -> None:
        for batch in chunked(lane, LIMITS.events):
            await self._pusher.trigger_batch(batch, already_encoded=True)

    def _pack(self, event: Event) -> dict[str, str]:
        frame = encode_or_stub(event, LIMITS.event_bytes, "Pusher")
        channel = self._private.encode(event.channel)
        return {"channel": channel, "name": EVENT, "data": frame.decode()}

    async def authorize(
        self, fields: Mapping[str, str], request: AuthorizationRequest
    ) -> Mapping[str, Any] | None:
        """Sign a subscription of pusher-js: `socket_id` and `channel_name`."""
        name, socket_id = fields.get("channel_name", ""), fields.get("socket_id", "")
        present = self._presence.decode(name)
        channel = present or self._private.decode(name)
        if channel is None or not await request.allow(channel):
            return None
        member = {"user_id": request.user, "user_info": {}} if present else None
        try:
            answer: Mapping[str, Any] = self._pusher.authenticate(name, socket_id, member)
        except ValueError as error:
            raise AuthRequestError("Send socket_id, as pusher-js does") from error
        return answer

    async def check(self) -> list[CheckResult]:
        """Ask for the app's channels: whether it is there, and ours."""
        try:
            await self._pusher.channels_info("private-", [])
        except PublishError as error:
            return [CheckResult(check="pusher", status="failed", detail=str(error))]
        detail = f"{self} answers, and knows our key and secret"
        return [CheckResult(check="pusher", status="ok", detail=detail)]
