"""Ably: push over the REST API, and tokens for Ably's clients."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx
from ably import AblyException, AblyRest
from ably.types.message import Message
from msgspec import Struct

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.hosted import AuthorizationRequest, ListenableBackend
from realtime_bridge.backend.provider_connection import Authorize
from realtime_bridge.backend.push import PushLimits
from realtime_bridge.errors import AuthRequestError, PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.wire.provider_names import ProviderNames
from realtime_bridge.protocol.wire.stubs import encode_or_stub
from realtime_bridge_backends.ably import logs
from realtime_bridge_backends.ably.batches import (
    MAX_PUBLICATION_BYTES,
    MAX_PUBLICATION_MESSAGES,
    MAX_REQUEST_CHANNELS,
    EncodedEvent,
    Publication,
    split_into_requests,
)
from realtime_bridge_backends.ably.connection import AblyConnection
from realtime_bridge_backends.ably.errors import raise_for_batch, to_publish_error
from realtime_bridge_backends.ably.tokens import Signer, subscribe_capability

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

MESSAGE_NAME = "realtime"
"""Name of all our messages at Ably; an event's own name is in its frame."""

LIMITS = PushLimits(
    event_bytes=MAX_PUBLICATION_BYTES - len(MESSAGE_NAME),  # Ably counts the name with the data
    events=MAX_PUBLICATION_MESSAGES,
    channels=MAX_REQUEST_CHANNELS,
)

CHANNELS_PER_CONNECTION = 200
"""Ably's limit of attached channels, and so of the channels in one token."""

BATCH_VERSION = "3"
"""Version of Ably's API from which a batch response has a result per channel."""

ERROR_TEXT = 200
"""Longest text of Ably's in an error, in characters."""


class AblyTiming(Struct, frozen=True, kw_only=True):
    """Durations of an Ably backend, in seconds.

    Args:
        connect_seconds: longest time to open a connection.
        call_seconds: longest time for one answer.
        token_seconds: lifetime of this backend's own tokens; the SDK requests a new one when Ably
            reports that the old one has expired.

    """

    connect_seconds: float = 2.0
    call_seconds: float = 5.0
    token_seconds: float = 3_600.0


class AblyBackend(ListenableBackend):
    """Delivery backend that publishes each event as one of Ably's messages.

    An event over Ably's limit is sent as a stub, and clients fetch the event from the log. The
    first push creates the SDK's client, and so does a push in another event loop: in serverless
    functions every request may have its own loop. The client uses tokens signed here, so the
    key's secret stays in this process. They also work without TLS, where the SDK rejects keys.

    Args:
        key: the app's key, `APPID.KEYID:SECRET`; it needs `publish` and `subscribe`.
        endpoint: the cluster: a name of Ably's, or a host.
        port: the port of a server other than Ably's; by default that of HTTPS or HTTP.
        tls: whether requests and sockets are encrypted.
        prefix: the application's prefix, and its namespace at Ably.
        timing: durations.

    """

    provider = "ably"
    limits = LIMITS

    def __init__(
        self,
        key: str,
        *,
        endpoint: str = "main",
        port: int | None = None,
        tls: bool = True,
        prefix: str = "realtime",
        timing: AblyTiming | None = None,
    ) -> None:
        self._key = key
        self._endpoint = endpoint
        self._port = port
        self._tls = tls
        self._names = ProviderNames(f"{prefix}:")
        self._timing = timing or AblyTiming()
        self._signer = Signer(key)
        self._rest: AblyRest | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        logs.install_filters()

    def __str__(self) -> str:
        return f"Ably ({self._host})"

    @property
    def _host(self) -> str:
        is_cluster_name = "." not in self._endpoint and self._endpoint != "localhost"
        port = f":{self._port}" if self._port else ""
        return f"{self._endpoint}.realtime.ably.net" if is_cluster_name else self._endpoint + port

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Return the backend for the app of `REALTIME_ABLY_KEY`."""
        from realtime_bridge_backends.ably.settings import AblySettings

        chosen = AblySettings.load()
        return cls(
            chosen.key,
            endpoint=chosen.endpoint,
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
        rest, self._rest = self._rest, None
        if rest is not None:
            await rest.close()

    @property
    def options(self) -> Mapping[str, Any]:
        """Options of ably-js."""
        return {
            "endpoint": self._endpoint,
            "port": self._port,
            "tls": self._tls,
            "channel_prefix": self._names.start,
        }

    async def push(self, events: Sequence[Event]) -> None:
        """Push events in few requests, each channel's in order."""
        encoded = map(self._encode, events)
        for publications in split_into_requests(encoded, overhead=len(MESSAGE_NAME)):
            try:
                await self._publish(publications)
            except (AblyException, httpx.HTTPError, OSError) as error:
                raise self._to_publish_error(error) from None  # the cause may hold a token

    def _encode(self, event: Event) -> EncodedEvent:
        frame = encode_or_stub(event, LIMITS.event_bytes, "Ably")
        return EncodedEvent(channel=self._names.encode(event.channel), id=event.id, frame=frame)

    async def _publish(self, publications: Sequence[Publication]) -> None:
        """Publish, and once more if a kept connection was stale.

        The ids make that safe: Ably ignores a repeated id for 2 minutes.
        """
        try:
            await self._send(publications)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            await self._send(publications)

    async def _send(self, publications: Sequence[Publication]) -> None:
        rest = self._client()
        if len(publications) == 1:
            publication = publications[0]
            await rest.channels.get(publication.channel).publish(_messages(publication))
            rest.channels.release(publication.channel)  # the SDK keeps every channel otherwise
            return
        specs = [
            {
                "channels": [publication.channel],
                "messages": [message.as_dict(binary=True) for message in _messages(publication)],
            }
            for publication in publications
        ]
        response = await rest.request("POST", "/messages", BATCH_VERSION, body=specs)
        raise_for_batch(response, self._redact)

    def _client(self) -> AblyRest:
        """Return the SDK's client for the running loop."""
        loop = asyncio.get_running_loop()
        # The kept connections belong to a loop: a client of a closed loop cannot send.
        if self._rest is None or self._loop is not loop:
            self._rest = AblyRest(auth_callback=self._create_token, **self._client_options)
            self._loop = loop
        return self._rest

    @property
    def _client_options(self) -> dict[str, Any]:
        port = {"tls_port" if self._tls else "port": self._port} if self._port else {}
        return {
            "endpoint": self._endpoint,
            "tls": self._tls,
            "http_open_timeout": self._timing.connect_seconds,
            "http_request_timeout": self._timing.call_seconds,
            **port,
        }

    async def _create_token(self, _: Any) -> str:
        capability = {f"{self._names.start}*": ["publish"]}
        return self._signer.create_jwt(capability, seconds=self._timing.token_seconds)

    def _to_publish_error(self, error: Exception) -> PublishError:
        return to_publish_error(error, self._host, self._redact)

    def _redact(self, text: str) -> str:
        for secret in (self._key, self._key.partition(":")[2]):
            text = text.replace(secret, "…")
        return " ".join(logs.redact_tokens(text).split())[:ERROR_TEXT]

    async def authorize(
        self, fields: Mapping[str, str], request: AuthorizationRequest
    ) -> Mapping[str, Any] | None:
        """Return a token for those of `channels` that the user may subscribe to.

        `channels` has names at Ably, separated by spaces. The result is TokenDetails with a JWT,
        or a TokenRequest for `format=request`.
        """
        names = fields.get("channels", "").split()
        if not 0 < len(names) <= CHANNELS_PER_CONNECTION:
            raise AuthRequestError(
                f"{len(names)} channels requested: send channels=, with 1 to "
                f"{CHANNELS_PER_CONNECTION} names at Ably, separated by spaces"
            )
        # Denied channels are left out: one denied channel must not cost the client all others.
        allowed = [name for name in names if await self._may_subscribe(name, request)]
        if not allowed:
            return None
        is_request = fields.get("format") == "request"
        create = self._signer.create_request if is_request else self._signer.create_details
        capability = subscribe_capability(allowed)
        return create(capability, seconds=request.seconds, client=request.user)

    async def _may_subscribe(self, name: str, request: AuthorizationRequest) -> bool:
        channel = self._names.decode(name)
        return channel is not None and await request.allow(channel)

    @classmethod
    def create_connection(
        cls, options: Mapping[str, Any], channels: Sequence[str], authorize: Authorize
    ) -> AblyConnection:
        """Return a client's connection to Ably, not opened yet."""
        return AblyConnection(options, channels, authorize)

    async def check(self) -> list[CheckResult]:
        """Request a token from Ably, and compare its capability with the needed one."""
        channels = f"{self._names.start}*"
        needed = {channels: ["publish", "subscribe"]}

        async def create_request(_: Any) -> dict[str, Any]:
            return self._signer.create_request(needed, seconds=60)

        try:
            # A token request returns the granted capability, and publishes nothing.
            async with AblyRest(auth_callback=create_request, **self._client_options) as rest:
                details = await rest.auth.request_token()
        except (AblyException, httpx.HTTPError, OSError) as error:
            detail = str(self._to_publish_error(error))
            return [CheckResult(check="ably", status="failed", detail=detail)]
        # Ably returns the intersection of the requested capability and the key's.
        missing = set(needed[channels]) - _expand(details.capability.get(channels, []))
        if missing:
            detail = f"{self} answers, but the key does not allow {', '.join(sorted(missing))}"
            hint = f"give it `publish` and `subscribe` on {channels} in Ably's dashboard"
            return [CheckResult(check="ably", status="failed", detail=detail, hint=hint)]
        detail = f"{self} answers, and the key may publish and subscribe"
        return [CheckResult(check="ably", status="ok", detail=detail)]


def _messages(publication: Publication) -> list[Message]:
    return [
        Message(name=MESSAGE_NAME, data=message.frame.decode(), id=message_id)
        for message, message_id in zip(publication.messages, publication.ids, strict=True)
    ]


def _expand(operations: Sequence[str]) -> set[str]:
    return {"publish", "subscribe"} if "*" in operations else set(operations)
