"""Ably: push over the REST API, and tokens for Ably's clients."""

import logging
import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ably import AblyRest

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.hosted import AuthorizationRequest, ListenableBackend, decide_channels
from realtime_bridge.backend.provider_connection import Authorize
from realtime_bridge.backend.push import PushLimits
from realtime_bridge.errors import (
    AuthRequestError,
    BackendUnavailableError,
    ConfigurationError,
    PublishError,
)
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.wire.provider_names import ProviderNames
from realtime_bridge.protocol.wire.stubs import encode_or_stub
from realtime_bridge_backends.ably import logs
from realtime_bridge_backends.ably.batches import (
    MAX_PUBLICATION_BYTES,
    MAX_PUBLICATION_MESSAGES,
    MAX_REQUEST_CHANNELS,
    EncodedEvent,
    split_into_requests,
)
from realtime_bridge_backends.ably.connection import AblyConnection
from realtime_bridge_backends.ably.endpoint import ENDPOINT_PATTERN
from realtime_bridge_backends.ably.errors import EventTooLargeError
from realtime_bridge_backends.ably.members import describe_member, present_channels
from realtime_bridge_backends.ably.rest import CALL_ERRORS, MESSAGE_NAME, AblyREST
from realtime_bridge_backends.ably.timing import AblyTiming
from realtime_bridge_backends.ably.tokens import WILDCARD_CLIENT, subscribe_capability

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

LIMITS = PushLimits(
    event_bytes=MAX_PUBLICATION_BYTES - len(MESSAGE_NAME),  # Ably counts the name with the data
    events=MAX_PUBLICATION_MESSAGES,
    channels=MAX_REQUEST_CHANNELS,
    stream_seconds=0.1,  # Ably takes 50 messages a second on a channel
)

CHANNELS_PER_CONNECTION = 200
"""Ably's limit of attached channels (code 90010), and so of the channels in one token."""

MAX_TOKEN_BYTES = 6_144
"""Longest token that is signed here. Clients send it in a URL, and servers accept 8 KB of those."""


_NO_ROOM = (
    "a member's information is left out, as the token has no room: bytes=%d limit=%d: return less "
    "from the presence functions"
)

_logger = logging.getLogger("realtime_bridge.server")


class AblyBackend(ListenableBackend):
    """Delivery backend that publishes each event as one of Ably's messages.

    An event over Ably's limit is sent as a stub, and clients fetch the event from the log.

    Args:
        key: the app's key, `APPID.KEYID:SECRET`; it needs `publish` and `subscribe`.
        endpoint: the cluster: a name of Ably's, or a host.
        port: the port of a server other than Ably's; by default that of HTTPS or HTTP.
        tls: whether requests and sockets are encrypted.
        client_endpoint: the host at which clients reach that server; by default the same one.
        client_port: the port for clients.
        client_tls: whether connections of clients are encrypted; by default as `tls`.
        prefix: the application's prefix, and its namespace at Ably.
        timing: durations.

    Raises:
        ConfigurationError: an endpoint has a port or a scheme.

    """

    provider = "ably"
    keeps_members = True
    limits = LIMITS
    channels_per_connection = CHANNELS_PER_CONNECTION - 1  # one announces revocations

    def __init__(
        self,
        key: str,
        *,
        endpoint: str = "main",
        port: int | None = None,
        tls: bool = True,
        client_endpoint: str | None = None,
        client_port: int | None = None,
        client_tls: bool | None = None,
        prefix: str = "realtime",
        timing: AblyTiming | None = None,
    ) -> None:
        for name, address in (("ENDPOINT", endpoint), ("CLIENT_ENDPOINT", client_endpoint)):
            if address and not re.fullmatch(ENDPOINT_PATTERN, address):
                raise ConfigurationError(
                    f"REALTIME_ABLY_{name}={address!r} is no host: write the host alone, and the "
                    f"port in REALTIME_ABLY_{name.replace('ENDPOINT', 'PORT')}"
                )
        self._names = ProviderNames(f"{prefix}:")
        self._rest = AblyREST(
            key,
            endpoint=endpoint,
            port=port,
            tls=tls,
            capability={f"{self._names.start}*": ["publish"]},
            timing=timing or AblyTiming(),
        )
        self._options = {
            "endpoint": client_endpoint or endpoint,
            "port": client_port or (None if client_endpoint else port),
            "tls": tls if client_tls is None else client_tls,
            "channel_prefix": self._names.start,
        }
        logs.install_filters()

    def __str__(self) -> str:
        return f"Ably ({self._rest.host})"

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
            client_endpoint=chosen.client_endpoint,
            client_port=chosen.client_port,
            client_tls=chosen.client_tls,
            prefix=settings.prefix,
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._rest.close()

    @property
    def options(self) -> Mapping[str, Any]:
        """Options of ably-js."""
        return self._options

    async def push(self, events: Sequence[Event]) -> None:
        """Push events in few requests, each channel's in order.

        Raises:
            PublishError: Ably refused an event, or cannot be reached.

        """
        refusal: PublishError | None = None
        for publications in split_into_requests(
            map(self._encode, events), overhead=len(MESSAGE_NAME)
        ):
            try:
                await self._rest.publish(publications)
            except PublishError as error:
                # A refused event does not hold back those of other requests.
                if not (isinstance(error, EventTooLargeError) or type(error) is PublishError):
                    raise
                refusal = refusal or error
        if refusal:
            raise refusal

    def _encode(self, event: Event) -> EncodedEvent:
        frame = encode_or_stub(event, LIMITS.event_bytes, "Ably")
        return EncodedEvent(channel=self._names.encode(event.channel), id=event.id, frame=frame)

    async def authorize(
        self, fields: Mapping[str, str], request: AuthorizationRequest
    ) -> Mapping[str, Any] | None:
        """Return a token for those of `channels` that the user may subscribe to.

        `channels` has names at Ably, separated by spaces. The result is TokenDetails with a JWT,
        or a TokenRequest for `format=request` and where the JWT would be too long. A token for
        the presence of a channel has what the application adds to this user there.
        """
        names = fields.get("channels", "").split()
        if not 0 < len(names) <= CHANNELS_PER_CONNECTION:
            raise AuthRequestError(
                f"{len(names)} channels requested: send channels=, with 1 to "
                f"{CHANNELS_PER_CONNECTION} names at Ably, separated by spaces"
            )
        # Denied channels are left out: one denied channel must not cost the client all others.
        present = present_channels(self._names, names, request.user)
        channels = {name: present.get(name) or self._names.decode(name) for name in names}
        decisions = await decide_channels(channels, request)
        if not decisions.allowed:
            decisions.raise_failure()
            return None
        capability = subscribe_capability(decisions.allowed, present)
        signer = self._rest.signer
        claims: dict[str, Any] = {"seconds": request.seconds, "client": request.user}
        info = await describe_member(present, decisions.allowed, request)
        answer = signer.create_details(capability, **claims, info=info)
        if fields.get("format") == "request" or len(answer["token"]) > MAX_TOKEN_BYTES:
            if info:
                _logger.warning(_NO_ROOM, len(answer["token"]), MAX_TOKEN_BYTES)
            answer = signer.create_request(capability, **claims)
        return answer | ({"failed": list(decisions.failures)} if decisions.failures else {})

    async def revoke(self, user: str | None, channel: str | None) -> Sequence[str]:
        """Revoke the tokens of a user or of a channel; return what Ably does not revoke."""
        if user == WILDCARD_CLIENT:
            reason = "tokens of this user have no client id"
        else:
            # A user keeps the other channels: clients get another token at once.
            name = self._names.encode(channel or "")
            target = f"clientId:{user}" if user is not None else f"channel:{name}"
            try:
                await self._rest.revoke([target])
            except BackendUnavailableError:
                raise
            except PublishError as error:
                reason = str(error)
            else:
                return []
        remaining = "tokens of programs without this library are valid for up to 10 minutes"
        hint = "Enable revocable tokens for the key in Ably's dashboard"
        return [f"{self}: {remaining} ({reason}). {hint}"]

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
            return self._rest.signer.create_request(needed, seconds=60)

        try:
            # A token request returns the granted capability, and publishes nothing.
            async with AblyRest(auth_callback=create_request, **self._rest.options) as rest:
                details = await rest.auth.request_token()
            if not details.token:
                raise ValueError("no token")
        except CALL_ERRORS as error:
            detail = str(self._rest.to_publish_error(error))
            return [CheckResult(check="ably", status="failed", detail=detail)]
        # Ably returns the intersection of the requested capability and the key's.
        missing = set(needed[channels]) - _expand(details.capability.get(channels, []))
        if missing:
            detail = f"{self} answers, but the key does not allow {', '.join(sorted(missing))}"
            hint = f"give it `publish` and `subscribe` on {channels} in Ably's dashboard"
            return [CheckResult(check="ably", status="failed", detail=detail, hint=hint)]
        detail = f"{self} answers, and the key may publish and subscribe"
        return [CheckResult(check="ably", status="ok", detail=detail)]


def _expand(operations: Sequence[str]) -> set[str]:
    return {"publish", "subscribe"} if "*" in operations else set(operations)
