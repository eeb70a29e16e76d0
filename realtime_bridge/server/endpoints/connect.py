"""Descriptor of the connection: URLs, identity, token, guarantee and limits for one client."""

import hashlib
import logging
import re
import time

from realtime_bridge.backend.hosted import HostedBackend
from realtime_bridge.model import ids
from realtime_bridge.model.user import own_channel
from realtime_bridge.server.auth.authenticator import Authenticator
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.auth.revocations import control_channel
from realtime_bridge.server.auth.tokens import TOKEN_SECONDS, Tokens
from realtime_bridge.server.http.request import HTTPError, Request
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline
from realtime_bridge.server.lifecycle.status import ServerStatus
from realtime_bridge.settings import Settings

_logger = logging.getLogger("realtime_bridge.server")

_CLIENT = re.compile(r"[A-Za-z0-9_-]{1,64}")

REQUEST_URLS = {name: name for name in ("connect", "poll", "latest", "stream")} | {
    "stop": "stream/stop",
    "cancel": "job/cancel",
    "answer": "job/answer",
}
PUSH_URLS = {"sse": "sse", "websocket": "ws"}
"""Paths relative to the URL of `connect`, which keeps them valid behind any proxy."""


class Descriptors:
    """Descriptors for clients.

    Args:
        settings: the configuration.
        authenticator: authenticates the requests.
        tokens: issues the tokens.
        pipeline: the log, and the provider that delivers.
        status: the generation.
        heartbeat: the seconds between two heartbeats.

    """

    def __init__(
        self,
        settings: Settings,
        authenticator: Authenticator,
        tokens: Tokens,
        pipeline: ServerPipeline,
        status: ServerStatus,
        *,
        heartbeat: float,
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._tokens = tokens
        self._pipeline = pipeline
        self._status = status
        self._heartbeat = heartbeat
        self._is_reported = False

    async def connect(self, request: Request) -> Response:
        """Answer `POST connect` with the descriptor and a token for this user and client."""
        body = await request.json()
        principal = await self._authenticator.identify(request)
        client = body.get("client") or principal.client or ids.client_id()
        if not isinstance(client, str) or not _CLIENT.fullmatch(client):
            raise HTTPError(
                400,
                "bad_client",
                "client is not valid: send 1 to 64 characters of A-Z a-z 0-9 _ -",
            )
        return Response.json(self._describe(principal, client))

    def _describe(self, principal: Principal, client: str) -> dict[str, object]:
        settings, provider, seconds = self._settings, self._pipeline.provider, _seconds(principal)
        return {
            "provider": provider.provider if provider else "websocket",
            "mode": "realtime" if is_rolled_out(settings, principal.user) else "polling",
            "guarantee": "log" if self._pipeline.has_log else "signal",
            "client": client,
            "user": principal.user,
            **self._channel_of(principal.user),
            "token": self._tokens.exchange(principal, client, seconds=seconds),
            "expires": round(seconds),
            "time": time.time_ns() // 1_000_000,
            "urls": self._urls(),
            "heartbeat": self._heartbeat,
            "max_age": None,
            "generation": self._status.generation,
            "limits": {
                "channels": self._channel_limit(provider),
                "frame_bytes": settings.limit_frame_bytes,
                "frames_per_second": settings.limit_frames_per_second,
            },
            "options": provider.options if provider else {},
            "control": control_channel(principal.user) if provider else None,
        }

    def _channel_limit(self, provider: HostedBackend | None) -> int:
        limit = self._settings.limit_channels_per_connection
        return min(limit, (provider and provider.channels_per_connection) or limit)

    def _channel_of(self, user: str) -> dict[str, str | None]:
        """Return the channel of a user, where it is not `user-{id}`, and log the first of these."""
        channel = own_channel(user)
        if channel == f"user-{user}":
            return {}
        if not self._is_reported:
            self._is_reported = True
            _logger.warning(
                "a user's id has characters that no channel has user=%r channel=%s: publish to "
                "user_channel(id), and listen to userChannel(id)",
                user,
                channel or "none, since its name would be too long",
            )
        return {"channel": channel}

    def _urls(self) -> dict[str, str]:
        """Return the paths for requests, for push, and for a provider's authorization requests."""
        provider = self._pipeline.provider
        push = {} if self._status.is_serverless or not self._pipeline.has_log else PUSH_URLS
        auth = {"auth": f"auth/{provider.provider}"} if provider else {}
        return REQUEST_URLS | push | auth


def is_rolled_out(settings: Settings, user: str) -> bool:
    """Return whether this user receives pushed events.

    The share of users is taken by a stable hash, so that a larger share only adds users.
    """
    digest = hashlib.sha256(f"{settings.prefix}:{user}".encode()).digest()
    percent = int.from_bytes(digest[:8]) % 100
    return settings.enabled and percent < settings.rollout_percent


def _seconds(principal: Principal) -> float:
    """Return the token's lifetime, in s."""
    # Bounded by the request's own proof: else a client could renew its access without end.
    return min(TOKEN_SECONDS, max(0.0, principal.expires - time.time()))
