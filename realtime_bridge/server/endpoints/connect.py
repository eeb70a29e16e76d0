"""Descriptor of the connection: URLs, identity, token, guarantee and limits for one client."""

import re
import time

from realtime_bridge.model import ids
from realtime_bridge.protocol.session.session import HEARTBEAT_SECONDS
from realtime_bridge.server.auth.tokens import TOKEN_SECONDS, Principal
from realtime_bridge.server.context import ServerContext
from realtime_bridge.server.http.request import HTTPError, Request
from realtime_bridge.server.http.response import Response

_CLIENT = re.compile(r"[A-Za-z0-9_-]{1,64}")

ASKED = {name: name for name in ("connect", "poll", "latest")}
PUSHED = {"sse": "sse", "websocket": "ws"}
"""Paths relative to the URL of `connect`, which keeps them valid behind any proxy."""


async def connect(engine: ServerContext, request: Request) -> Response:
    """Answer `POST connect` with the descriptor and a token for this user and client."""
    body = await request.json()
    principal = await engine.identify(request)
    client = body.get("client") or principal.client or ids.client_id()
    if not isinstance(client, str) or not _CLIENT.fullmatch(client):
        raise HTTPError(
            400,
            "bad_client",
            "client is not valid: send 1 to 64 characters of A-Z a-z 0-9 _ -",
        )
    return Response.json(_describe(engine, principal, client))


def _describe(engine: ServerContext, principal: Principal, client: str) -> dict[str, object]:
    seconds = _seconds(principal)
    hosted = engine.carriers.provider
    return {
        "provider": hosted.provider if hosted else "websocket",
        "mode": "realtime" if engine.pushes_to(principal.user) else "polling",
        "guarantee": "log" if engine.logged else "signal",
        "client": client,
        "user": principal.user,
        "token": engine.tokens.issue(
            principal.user, client=client, channels=principal.channels or (), seconds=seconds
        ),
        "expires": round(seconds),
        "urls": _urls(engine),
        "heartbeat": HEARTBEAT_SECONDS,
        "max_age": None,
        "generation": engine.generation,
        "limits": {
            "channels": engine.settings.limit_channels_per_connection,
            "frame_bytes": engine.settings.limit_frame_bytes,
            "frames_per_second": engine.settings.limit_frames_per_second,
        },
        "options": hosted.options if hosted else {},
    }


def _urls(engine: ServerContext) -> dict[str, str]:
    """Return the paths for requests, for push, and for a provider's authorization requests."""
    hosted = engine.carriers.provider
    pushed = {} if engine.alone or not engine.logged else PUSHED
    return ASKED | pushed | ({"auth": f"auth/{hosted.provider}"} if hosted else {})


def _seconds(principal: Principal) -> float:
    """Return the token's lifetime, in s."""
    # Bounded by the request's own proof: else a client could renew its access without end.
    return min(TOKEN_SECONDS, max(0.0, principal.expires - time.time()))
