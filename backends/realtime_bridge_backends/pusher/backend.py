"""Pusher Channels: push over the HTTP API, and signatures for Pusher's client."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pusher import Pusher
from pusher.http import Request as PusherRequest

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.hosted import AuthorizationRequest, ListenableBackend
from realtime_bridge.backend.push import PushLimits
from realtime_bridge.errors import ConfigurationError, PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.model.urls import HOST_PATTERN
from realtime_bridge.protocol.publishing.chunks import chunked, partition_by_channel
from realtime_bridge.protocol.wire.provider_names import ProviderNames
from realtime_bridge.protocol.wire.stubs import encode_or_stub
from realtime_bridge_backends.pusher.adapter import HTTPAdapter, SessionHolder
from realtime_bridge_backends.pusher.errors import EventTooLargeError, name_variables
from realtime_bridge_backends.pusher.names import DEFAULT_CLUSTER, EVENT_NAME
from realtime_bridge_backends.pusher.signatures import Signatures, pusher_user
from realtime_bridge_backends.pusher.timing import PusherTiming

if TYPE_CHECKING:
    from realtime_bridge.backend.provider_connection import Authorize, ProviderConnection
    from realtime_bridge.settings import Settings

LIMITS = PushLimits(event_bytes=10_240, events=10, channels=100, stream_seconds=0.15)
"""Pusher's limits: encoded bytes of an event's `data`, events of a batch, channels of a trigger."""

MAX_CHANNEL = 164
"""Longest channel name at Pusher, with its prefix."""

LONGEST_PREFIX = MAX_CHANNEL - len("presence-.") - 128

PARALLEL_BATCHES = 8
"""Batches sent at the same time, each with other channels than the rest."""


class PusherBackend(ListenableBackend):
    """Delivery backend that triggers each event as one of Pusher's, on a private channel.

    An event over Pusher's limit is sent as a stub, and clients fetch the event from the log. The
    first push connects, and so does a push in another event loop: in serverless functions every
    request may have its own loop.

    Args:
        app_id: the app's id; a number, unless `host` is given.
        key: the app's public key.
        secret: the app's secret, which signs requests and subscriptions.
        cluster: the app's cluster, such as `eu`; by default `mt1`.
        host: another server with Pusher's protocol, instead of Pusher; without its port.
        port: the port of that server; by default that of HTTPS or HTTP.
        tls: whether requests and sockets are encrypted.
        client_host: the host at which browsers reach that server; by default the same one.
        client_port: the port for browsers.
        client_tls: whether connections of browsers are encrypted; by default as `tls`.
        prefix: the application's prefix, between `private-` and the channel.
        timing: time limits of requests.

    Raises:
        ConfigurationError: the prefix is too long for Pusher's limit on channel names, a host has
            a port, or the id of Pusher's own app is no number.

    """

    provider = "pusher"
    keeps_members = True
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
        client_host: str | None = None,
        client_port: int | None = None,
        client_tls: bool | None = None,
        prefix: str = "realtime",
        timing: PusherTiming | None = None,
    ) -> None:
        if len(prefix) > LONGEST_PREFIX:
            raise ConfigurationError(
                f"REALTIME_PREFIX={prefix!r} is too long: channel names at Pusher have up to "
                f"{MAX_CHANNEL} characters. Use at most {LONGEST_PREFIX}"
            )
        for name, address in (("HOST", host), ("CLIENT_HOST", client_host)):
            if address and not re.fullmatch(HOST_PATTERN, address):
                raise ConfigurationError(
                    f"REALTIME_PUSHER_{name}={address!r} is no host: write the host alone, and the "
                    f"port in REALTIME_PUSHER_{name.replace('HOST', 'PORT')}"
                )
        if not (host or app_id.isdecimal()):
            raise ConfigurationError(
                # Without the value, which may be the secret in the wrong place.
                name_variables(
                    "REALTIME_PUSHER_APP_ID is no number, and Pusher's app ids are numbers: copy "
                    "it from the dashboard, or name your own server in REALTIME_PUSHER_HOST"
                )
            )
        self._private = ProviderNames(f"private-{prefix}.")
        self._sessions = SessionHolder(timing or PusherTiming())
        if not (cluster or host):
            cluster = DEFAULT_CLUSTER
        server = {"cluster": cluster, "host": host, "port": port, "ssl": tls}
        # The SDK passes options that it does not know to its backend.
        http = {"backend": HTTPAdapter, "sessions": self._sessions}
        # The SDK accepts digits alone, also where other servers have names for their apps.
        is_number = app_id.isdecimal()
        self._pusher = Pusher(app_id if is_number else "0", key, secret, **server, **http)
        self._pusher._pusher_client._app_id = app_id
        self._signatures = Signatures(
            self._pusher, private=self._private, presence=ProviderNames(f"presence-{prefix}.")
        )
        self._options: dict[str, Any] = {
            "key": key,
            "cluster": cluster,
            "channel_prefix": self._private.start,
        }
        if host or client_host:
            port = self._pusher._pusher_client.port
            is_encrypted = tls if client_tls is None else client_tls
            default_port = port if is_encrypted == tls and not client_host else None
            self._options |= {
                "host": client_host or host,
                "port": client_port or default_port or (443 if is_encrypted else 80),
                "tls": is_encrypted,
            }

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
            client_host=chosen.client_host,
            client_port=chosen.client_port,
            client_tls=chosen.client_tls,
            prefix=settings.prefix,
        )

    async def __aenter__(self) -> Self:
        # Loaded now: on a busy machine that takes seconds, and a push has few.
        self._sessions.load()
        return self

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
        refusals = [await self._send_batch(batch) for batch in chunked(events, LIMITS.events)]
        for refusal in filter(None, refusals):
            raise refusal

    async def _send_batch(self, batch: Sequence[dict[str, str]]) -> PublishError | None:
        """Send a batch, and return the first refusal of one of its events."""
        try:
            # Encoded: the SDK would turn the frame, a text, into a JSON string.
            await self._pusher.trigger_batch(batch, already_encoded=True)
        except PublishError as error:
            if not _concerns_an_event(error):
                raise
            if len(batch) == 1:
                return error
            # The server refuses a batch for one of its events: send the others.
            refusals = [await self._send_batch([event]) for event in batch]
            return next(filter(None, refusals), None)
        return None

    def _encode(self, event: Event) -> dict[str, str]:
        frame = encode_or_stub(event, LIMITS.event_bytes, "Pusher")
        channel = self._private.encode(event.channel)
        return {"channel": channel, "name": EVENT_NAME, "data": frame.decode()}

    async def authorize(
        self, fields: Mapping[str, str], request: AuthorizationRequest
    ) -> Mapping[str, Any] | None:
        """Return what pusher-js sends on: signatures of subscriptions, or of a user.

        `socket_id` with `channel_name` is its own request for one channel, and `socket_id` alone
        its sign-in. `channel_names` has several channels, separated by spaces; the result has the
        answers of the allowed ones by name, the names whose rule failed, and the sign-in.
        """
        return await self._signatures.authorize(fields, request)

    async def revoke(self, user: str | None, channel: str | None) -> Sequence[str]:
        """End the connections of a user that signed in; return what Pusher cannot end."""
        if user is None:
            return [
                f"{self}: programs without this library keep {channel} until they connect again"
            ]
        client = self._pusher._pusher_client
        # Not by the SDK, whose path lacks the app.
        path = f"/apps/{client.app_id}/users/{pusher_user(user)}/terminate_connections"
        await client.http.send_request(PusherRequest(client, "POST", path, {}))
        return [f"{self}: programs without this library that did not sign in keep their channels"]

    @classmethod
    def create_connection(
        cls, options: Mapping[str, Any], channels: Sequence[str], authorize: "Authorize"
    ) -> "ProviderConnection":
        """Return a client's connection to Pusher, not opened yet."""
        # Loaded by clients alone: processes that publish or sign need no WebSocket.
        from realtime_bridge_backends.pusher.connection import PusherConnection

        return PusherConnection(options, channels, authorize)

    async def check(self) -> list[CheckResult]:
        """Publish to a channel that has no subscribers, which needs the right key and secret."""
        try:
            # Not a request for the app's state: some servers refuse the SDK's signature on those.
            channel = self._private.encode("realtime-bridge.check")
            await self._pusher.trigger([channel], EVENT_NAME, "{}")
        except PublishError as error:
            return [CheckResult(check="pusher", status="failed", detail=str(error))]
        detail = f"{self} answers, and accepts the key and secret"
        return [CheckResult(check="pusher", status="ok", detail=detail)]


def _concerns_an_event(error: PublishError) -> bool:
    """Return whether the server refused an event, so that it may accept others."""
    return isinstance(error, EventTooLargeError) or type(error) is PublishError
