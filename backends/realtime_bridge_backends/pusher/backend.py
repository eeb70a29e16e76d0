"""Pusher Channels: push over the HTTP API, and signatures for Pusher's client."""

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
from realtime_bridge_backends.pusher.http import HTTPAdapter, PusherTiming, SessionHolder

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

EVENT_NAME = "realtime"
"""Name of all our events at Pusher; an event's own name is in its frame."""

LIMITS = PushLimits(event_bytes=10_240, events=10, channels=100)
"""Pusher's limits: encoded bytes of an event's `data`, events of a batch, channels of a trigger."""

MAX_CHANNEL = 164
"""Longest channel name at Pusher, with its prefix."""

LONGEST_PREFIX = MAX_CHANNEL - len("presence-.") - 128

PARALLEL_BATCHES = 8
"""Batches sent at the same time, each with other channels than the rest."""


class PusherBackend(HostedBackend):
    """Delivery backend that triggers each event as one of Pusher's, on a private channel.

    An event over Pusher's limit is sent as a stub, and clients fetch the event from the log. The
    first push connects, and so does a push in another event loop: in serverless functions every
    request may have its own loop.

    Args:
        app_id: the app's number.
        key: the app's public key.
        secret: the app's secret, which signs requests and subscriptions.
        cluster: the app's cluster, such as `eu`.
        host: another server with Pusher's protocol, instead of Pusher.
        port: the port of that server; by default that of HTTPS or HTTP.
        tls: whether requests and sockets are encrypted.
        prefix: the application's prefix, between `private-` and the channel.
        timing: time limits of requests.

    Raises:
        ConfigurationError: the prefix is too long for Pusher's limit on channel names.

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
        timing: PusherTiming | None = None,
    ) -> None:
        if len(prefix) > LONGEST_PREFIX:
            raise ConfigurationError(
                f"REALTIME_PREFIX={prefix!r} is too long: channel names at Pusher have up to "
                f"{MAX_CHANNEL} characters. Use at most {LONGEST_PREFIX}"
            )
        self._private = ProviderNames(f"private-{prefix}.")
        self._presence = ProviderNames(f"presence-{prefix}.")
        self._sessions = SessionHolder(timing or PusherTiming())
        server = {"cluster": cluster, "host": host, "port": port, "ssl": tls}
        # The SDK passes options that it does not know to its backend.
        http = {"backend": HTTPAdapter, "sessions": self._sessions}
        self._pusher = Pusher(app_id, key, secret, **server, **http)
        self._options: dict[str, Any] = {
            "key": key,
            "cluster": cluster,
            "channel_prefix": self._private.start,
        }
        if host:
            port = self._pusher._pusher_client.port
            self._options |= {"host": host, "port": port, "tls": tls}

    def __str__(self) -> str:
        return f"Pusher ({self._pusher._pusher_client.host})"

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Return the backend for the app of `REALTIME_PUSHER_*`."""
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
        await self._sessions.close()

    @property
    def options(self) -> Mapping[str, Any]:
        """Options of pusher-js."""
        return self._options

    async def push(self, events: Sequence[Event]) -> None:
        """Push in batches of ten: each channel's in order, those of other channels in parallel."""
        pairs = [(event.channel, self._encode(event)) for event in events]
        sends = map(self._send, partition_by_channel(pairs, PARALLEL_BATCHES))
        # Wait for all sends before an error: none goes on after the push has returned.
        for error in await asyncio.gather(*sends, return_exceptions=True):
            if error:
                raise error

    async def _send(self, events: Sequence[dict[str, str]]) -> None:
        for batch in chunked(events, LIMITS.events):
            # Encoded: the SDK would turn the frame, a text, into a JSON string.
            await self._pusher.trigger_batch(batch, already_encoded=True)

    def _encode(self, event: Event) -> dict[str, str]:
        frame = encode_or_stub(event, LIMITS.event_bytes, "Pusher")
        channel = self._private.encode(event.channel)
        return {"channel": channel, "name": EVENT_NAME, "data": frame.decode()}

    async def authorize(
        self, fields: Mapping[str, str], request: AuthorizationRequest
    ) -> Mapping[str, Any] | None:
        """Return the signature of a subscription by pusher-js: `socket_id` and `channel_name`."""
        # The names are signed as they come: Pusher compares the signature with the same text.
        name, socket_id = fields.get("channel_name", ""), fields.get("socket_id", "")
        presence_channel = self._presence.decode(name)
        channel = presence_channel or self._private.decode(name)
        if channel is None or not await request.allow(channel):
            return None
        member = {"user_id": request.user, "user_info": {}} if presence_channel else None
        try:
            signature: Mapping[str, Any] = self._pusher.authenticate(name, socket_id, member)
        except ValueError as error:  # the SDK checks the form of socket_id
            raise AuthRequestError(
                f"Bad socket_id {socket_id[:80]!r}: send the one of pusher-js"
            ) from error
        return signature

    async def check(self) -> list[CheckResult]:
        """Request the app's channels, which needs the right key and secret."""
        try:
            # Each request is signed, so the cheapest one proves the key and the secret.
            await self._pusher.channels_info("private-", [])
        except PublishError as error:
            return [CheckResult(check="pusher", status="failed", detail=str(error))]
        detail = f"{self} answers, and accepts the key and secret"
        return [CheckResult(check="pusher", status="ok", detail=detail)]
