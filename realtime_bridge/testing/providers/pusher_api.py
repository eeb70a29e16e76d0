"""The HTTP API of a local Pusher: signatures, limits and status codes as the hosted one has."""

import asyncio
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

if TYPE_CHECKING:
    from realtime_bridge.testing.providers.pusher import LocalPusher

DATA_BYTES = 10_240
CHANNELS = 100
BATCH = 10
NAME_LENGTH = 200
CHANNEL_LENGTH = 164
CLOCK_SECONDS = 600

_CHANNEL = re.compile(rf"[A-Za-z0-9_=@,.;-]{{1,{CHANNEL_LENGTH}}}|#server-to-user-.{{1,128}}")


class RefusedCall(Exception):  # noqa: N818 -- it is an answer
    """An API call ends with this status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class PusherAPI:
    """Answers the calls of server SDKs."""

    def __init__(self, pusher: "LocalPusher") -> None:
        self._pusher = pusher

    def routes(self) -> list[web.RouteDef]:
        """Return what is where."""
        channels = "/apps/{app}/channels"
        return [
            web.post("/apps/{app}/events", self._answering(self._event)),
            web.post("/apps/{app}/batch_events", self._answering(self._batch)),
            web.get(channels, self._answering(self._channels)),
            web.get(channels + "/{channel}", self._answering(self._channel)),
            web.get(channels + "/{channel}/users", self._answering(self._users)),
            web.post(
                "/apps/{app}/users/{user}/terminate_connections", self._answering(self._terminate)
            ),
        ]

    def _answering(self, call: Any) -> Any:
        async def answer(request: web.Request) -> web.Response:
            self._pusher.calls += 1
            self._pusher.callers.add(
                request.transport and request.transport.get_extra_info("peername")
            )
            body = await request.read()
            try:
                await self._fail_as_told()
                self._check(request, body)
                return web.json_response(call(request, body))
            except RefusedCall as refused:
                headers = {"Retry-After": "1"} if refused.status == 429 else {}  # noqa: PLR2004
                return web.Response(status=refused.status, text=refused.text, headers=headers)

        return answer

    async def _fail_as_told(self) -> None:
        faults = self._pusher.faults
        if faults.seconds:
            await asyncio.sleep(faults.seconds)
        if faults.status is not None:
            raise RefusedCall(faults.status, faults.message)

    def _check(self, request: web.Request, body: bytes) -> None:
        pusher = self._pusher
        if request.match_info["app"] != pusher.app_id:
            raise RefusedCall(404, "App not found: is this the app's cluster?")
        query = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True))
        check_signature(pusher.key, pusher.secret, request.method, request.path, query, body)
        if pusher.state != "enabled":
            raise RefusedCall(403, f"Forbidden: the app is {pusher.state}")

    def _event(self, _: web.Request, body: bytes) -> dict[str, Any]:
        fields = _object(body)
        channels = fields.get("channels") or [fields.get("channel")]
        if len(channels) > CHANNELS:
            raise RefusedCall(400, f"More than {CHANNELS} channels")
        for channel in channels:
            _check_event({**fields, "channel": channel})
        for channel in channels:
            self._publish({**fields, "channel": channel})
        return {}

    def _batch(self, _: web.Request, body: bytes) -> dict[str, Any]:
        batch = _object(body).get("batch")
        if not isinstance(batch, list) or len(batch) > BATCH:
            raise RefusedCall(400, f"A batch has up to {BATCH} events")
        for fields in batch:
            _check_event(fields)
        for fields in batch:
            self._publish(fields)
        return {}

    def _publish(self, fields: Mapping[str, Any]) -> None:
        self._pusher.channels.publish(
            fields["channel"], fields["name"], fields["data"], but=fields.get("socket_id")
        )

    def _channels(self, request: web.Request, _: bytes) -> dict[str, Any]:
        prefix = request.query.get("filter_by_prefix", "")
        asked = _asked(request)
        if "user_count" in asked and not prefix.startswith("presence-"):
            raise RefusedCall(400, "user_count is for presence channels: filter_by_prefix")
        occupied = self._pusher.channels.occupied()
        return {
            "channels": {
                name: {"user_count": len(self._pusher.channels.members(name))} if asked else {}
                for name in occupied
                if name.startswith(prefix)
            }
        }

    def _channel(self, request: web.Request, _: bytes) -> dict[str, Any]:
        name, asked = request.match_info["channel"], _asked(request)
        channels = self._pusher.channels
        if "user_count" in asked and not name.startswith("presence-"):
            raise RefusedCall(400, "user_count is for presence channels")
        answer: dict[str, Any] = {"occupied": channels.subscribers(name) > 0}
        if "user_count" in asked:
            answer["user_count"] = len(channels.members(name))
        if "subscription_count" in asked:
            answer["subscription_count"] = channels.subscribers(name)
        return answer

    def _users(self, request: web.Request, _: bytes) -> dict[str, Any]:
        name = request.match_info["channel"]
        if not name.startswith("presence-"):
            raise RefusedCall(400, "Users are asked of presence channels")
        return {"users": [{"id": user} for user in self._pusher.channels.members(name)]}

    def _terminate(self, request: web.Request, _: bytes) -> dict[str, Any]:
        self._pusher.terminate(request.match_info["user"])
        return {}


def check_signature(
    key: str, secret: str, method: str, path: str, query: Mapping[str, str], body: bytes
) -> None:
    """Accept a call that is signed as the HTTP API wants it.

    Raises:
        RefusedCall: 401, it is not.

    """
    if query.get("auth_key") != key:
        raise RefusedCall(401, "Unknown auth_key")
    try:
        age = abs(time.time() - float(query.get("auth_timestamp", "")))
    except ValueError:
        raise RefusedCall(401, "auth_timestamp is the Unix time in seconds") from None
    if age > CLOCK_SECONDS:
        raise RefusedCall(401, f"Timestamp expired: {age:.0f} s from the server's clock")
    if body and query.get("body_md5") != hashlib.md5(body).hexdigest():  # noqa: S324 -- Pusher's choice
        raise RefusedCall(401, "body_md5 is not that of the body")
    signed = sorted((name.lower(), text) for name, text in query.items() if name != _SIGNATURE)
    text = "\n".join((method, path, "&".join(map("=".join, signed))))
    expected = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, query.get(_SIGNATURE, "")):
        raise RefusedCall(401, "Invalid signature")


_SIGNATURE = "auth_signature"


def _check_event(fields: object) -> None:
    if not isinstance(fields, dict):
        raise RefusedCall(400, "An event is an object")
    channel, name, data = (fields.get(field) for field in ("channel", "name", "data"))
    if not isinstance(channel, str) or not _CHANNEL.fullmatch(channel):
        raise RefusedCall(400, f"Invalid channel name {str(channel)[:80]!r}")
    if not isinstance(name, str) or not 0 < len(name) <= NAME_LENGTH:
        raise RefusedCall(400, f"An event's name has 1 to {NAME_LENGTH} characters")
    if not isinstance(data, str):
        raise RefusedCall(400, "data is a string")
    if len(data.encode()) > DATA_BYTES:
        raise RefusedCall(413, f"The data of {name} is over {DATA_BYTES} bytes")


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        raise RefusedCall(400, "The body is a JSON object")
    return fields


def _asked(request: web.Request) -> list[str]:
    return [name for name in request.query.get("info", "").split(",") if name]
