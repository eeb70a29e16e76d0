"""Ably: events over its REST API with our ids, and permission for its own clients."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx
from ably import AblyException, AblyRest
from ably.types.message import Message

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
    CHANNELS,
    MESSAGE_BYTES,
    MESSAGES,
    Packed,
    Publication,
    calls,
)
from realtime_bridge_backends.ably.connection import AblyTransport
from realtime_bridge_backends.ably.errors import explained, refusal
from realtime_bridge_backends.ably.tokens import Signer, listening

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

EVENT = "realtime"
"""What all our events are called at Ably; their own name is within the frame."""

LIMITS = PushLimits(event_bytes=MESSAGE_BYTES - len(EVENT), events=MESSAGES, channels=CHANNELS)
"""Ably counts a message's name and its data."""

CONNECT_SECONDS = 2.0
CALL_SECONDS = 5.0

WORKER_SECONDS = 3_600.0
"""How long our own token lasts; the SDK asks for another when Ably says that it has expired."""

CHANNELS_PER_CONNECTION = 200
"""The most that Ably attaches, and hence that one token names."""

BATCH_VERSION = "3"
"""The version of Ably's API whose batches tell of each channel what became of it."""


class AblyBackend(ListenableBackend):
    """Pushes each event as one of ours within one of Ably's, on a channel of our namespace.

    What is over Ably's limit goes as a stub that clients fetch from the log. The SDK's client is
    made at the first push, and anew in another event loop, so that it works where every request
    may be the first of its process. It gets tokens that we sign: the key's secret never travels,
    and without TLS, where the SDK refuses to send a key, it works too.

    Args:
        key: the app's, `APPID.KEYID:SECRET`; it may publish and subscribe.
        endpoint: the cluster: a name that Ably knows, or a host.
        port: of a server that is not Ably's own; by default that of HTTPS or HTTP.
        tls: whether calls and sockets are encrypted.
        prefix: the application's, and its namespace at Ably.

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
    ) -> None:
        self._key = key
        self._endpoint = endpoint
        self._port = port
        self._tls = tls
        self._names = ProviderNames(f"{prefix}:")
        self._signer = Signer(key)
        self._rest: AblyRest | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        logs.install()

    def __str__(self) -> str:
        return f"Ably ({self._host})"

    @property
    def _host(self) -> str:
        hosted = "." not in self._endpoint and self._endpoint != "localhost"
        port = f":{self._port}" if self._port else ""
        return f"{self._endpoint}.realtime.ably.net" if hosted else self._endpoint + port

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Make one for the app of `REALTIME_ABLY_KEY`."""
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
        """What ably-js has to know."""
        return {
            "endpoint": self._endpoint,
            "port": self._port,
            "tls": self._tls,
            "channel_prefix": self._names.start,
        }

    async def push(self, events: Sequence[Event]) -> None:
        """Push in as few calls as Ably takes, each channel's events in order."""
        for call in calls(map(self._pack, events), overhead=len(EVENT)):
            try:
                await self._send(call)
            except (AblyException, httpx.HTTPError, OSError) as error:
                raise self._explained(error) from None

    def _pack(self, event: Event) -> Packed:
        frame = encode_or_stub(event, LIMITS.event_bytes, "Ably")
        return Packed(channel=self._names.encode(event.channel), id=event.id, frame=frame)

    async def _send(self, call: Sequence[Publication]) -> None:
        """Make a call; what a kept connection that had gone stale lost is safe to send again."""
        try:
            await self._send_once(call)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            await self._send_once(call)

    async def _send_once(self, call: Sequence[Publication]) -> None:
        rest = self._client()
        if len(call) == 1:
            await rest.channels.get(call[0].channel).publish(_messages(call[0]))
            rest.channels.release(call[0].channel)
            return
        specs = [
            {
                "channels": [publication.channel],
                "messages": [message.as_dict(binary=True) for message in _messages(publication)],
            }
            for publication in call
        ]
        answer = await rest.request("POST", "/messages", BATCH_VERSION, body=specs)
        self._check(answer)

    def _check(self, answer: Any) -> None:
        """Look into the answer to a batch: it raises nothing by itself."""
        if not answer.success:
            said = self._scrubbed(str(answer.error_message))
            raise refusal(int(answer.error_code or 0), answer.status_code, said)
        for result in (one for spec in answer.items for one in spec.get("results", ())):
            if "error" in result:
                error = result["error"]
                said = self._scrubbed(str(error.get("message")))
                raise refusal(int(error["code"]), int(error["statusCode"]), said)

    def _client(self) -> AblyRest:
        """Return the SDK's client of the running loop."""
        loop = asyncio.get_running_loop()
        if self._rest is None or self._loop is not loop:
            self._rest, self._loop = AblyRest(auth_callback=self._token, **self._place), loop
        return self._rest

    @property
    def _place(self) -> dict[str, Any]:
        port = {"tls_port" if self._tls else "port": self._port} if self._port else {}
        return {
            "endpoint": self._endpoint,
            "tls": self._tls,
            "http_open_timeout": CONNECT_SECONDS,
            "http_request_timeout": CALL_SECONDS,
            **port,
        }

    async def _token(self, _: Any) -> str:
        everything = {f"{self._names.start}*": ["publish"]}
        return self._signer.jwt(everything, seconds=WORKER_SECONDS)

    def _explained(self, error: Exception) -> PublishError:
        return explained(error, self._host, self._scrubbed)

    def _scrubbed(self, text: str) -> str:
        for hidden in (self._key, self._key.partition(":")[2]):
            text = text.replace(hidden, "…")
        return " ".join(logs.scrubbed(text).split())[:200]

    async def authorize(
        self, fields: Mapping[str, str], request: AuthorizationRequest
    ) -> Mapping[str, Any] | None:
        """Grant to listen to those of `channels`, parted by spaces, that the user may subscribe to.

        The answer is a JWT with its details, or with `format=request` a TokenRequest.
        """
        names = fields.get("channels", "").split()
        if not 0 < len(names) <= CHANNELS_PER_CONNECTION:
            raise AuthRequestError(
                f"Send channels: 1 to {CHANNELS_PER_CONNECTION} names at Ably, parted by spaces"
            )
        granted = listening([name for name in names if await self._may_subscribe(name, request)])
        if not granted:
            return None
        asked_for_request = fields.get("format") == "request"
        answer = self._signer.request if asked_for_request else self._signer.details
        return answer(granted, seconds=request.seconds, client=request.user)

    async def _may_subscribe(self, name: str, request: AuthorizationRequest) -> bool:
        channel = self._names.decode(name)
        return channel is not None and await request.allow(channel)

    @classmethod
    def create_connection(
        cls, options: Mapping[str, Any], channels: Sequence[str], authorize: Authorize
    ) -> AblyTransport:
        """Make a client's connection to Ably."""
        return AblyTransport(options, channels, authorize)

    async def check(self) -> list[CheckResult]:
        """Ask Ably for a token, and see what of ours the key allows."""
        ours = f"{self._names.start}*"
        wanted = {ours: ["publish", "subscribe"]}

        async def request(_: Any) -> dict[str, Any]:
            return self._signer.request(wanted, seconds=60)

        try:
            async with AblyRest(auth_callback=request, **self._place) as rest:
                details = await rest.auth.request_token()
        except (AblyException, httpx.HTTPError, OSError) as error:
            return [CheckResult(check="ably", status="failed", detail=str(self._explained(error)))]
        missing = set(wanted[ours]) - _operations(details.capability.get(ours, []))
        if missing:
            detail = f"{self} answers, but the key does not allow {', '.join(sorted(missing))}"
            cure = f"give it `publish` and `subscribe` on {ours} in Ably's dashboard"
            return [CheckResult(check="ably", status="failed", detail=detail, hint=cure)]
        detail = f"{self} answers, and our key may publish and subscribe"
        return [CheckResult(check="ably", status="ok", detail=detail)]


def _messages(publication: Publication) -> list[Message]:
    return [
        Message(name=EVENT, data=message.frame.decode(), id=identity)
        for message, identity in zip(publication.messages, publication.ids, strict=True)
    ]


def _operations(operations: Sequence[str]) -> set[str]:
    return {"publish", "subscribe"} if "*" in operations else set(operations)
