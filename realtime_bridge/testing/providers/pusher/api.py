"""HTTP API of a local Pusher, with the signatures, limits and status codes of the service."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from realtime_bridge.testing.providers.pusher.app import PusherApp
from realtime_bridge.testing.providers.pusher.channels import is_channel_name

# Limits of the HTTP API (Pusher docs, HTTP API reference, "publishing events").
DATA_BYTES = 10_240
CHANNELS = 100
BATCH = 10
NAME_LENGTH = 200
CLOCK_SECONDS = 600

_Call = Callable[[web.Request, bytes], dict[str, Any]]


class CallError(Exception):
    """Error response to an API call: a status and a text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class PusherAPI:
    """Handlers for the calls of server SDKs."""

    def __init__(self, app: PusherApp) -> None:
        self._app = app

    def routes(self) -> list[web.RouteDef]:
        """Return the API's routes."""
        channels = "/apps/{app}/channels"
        return [
            web.post("/apps/{app}/events", self._handler(self._event)),
            web.post("/apps/{app}/batch_events", self._handler(self._batch)),
            web.get(channels, self._handler(self._channels)),
            web.get(channels + "/{channel}", self._handler(self._channel)),
            web.get(channels + "/{channel}/users", self._handler(self._users)),
            web.post(
                "/apps/{app}/users/{user}/terminate_connections", self._handler(self._terminate)
            ),
        ]

    def _handler(self, call: _Call) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            self._app.calls += 1
            self._app.callers.add(
                request.transport and request.transport.get_extra_info("peername")
            )
            body = await request.read()
            try:
                await self._apply_faults()
                if self._app.faults.html:
                    return web.Response(text="<html>", content_type="text/html")
                self._check(request, body)
                return web.json_response(call(request, body))
            except CallError as error:
                if self._app.faults.error_in_body:
                    # As soketi answers: the status of its refusals is lost, and clients see 200.
                    return web.json_response({"error": error.text, "code": error.status})
                limited = error.status == HTTPStatus.TOO_MANY_REQUESTS
                headers = {"Retry-After": "1"} if limited else {}
                return web.Response(status=error.status, text=error.text, headers=headers)

        return handle

    async def _apply_faults(self) -> None:
        faults = self._app.faults
        if faults.seconds:
            await asyncio.sleep(faults.seconds)
        if faults.status is not None:
            raise CallError(faults.status, faults.message)

    def _check(self, request: web.Request, body: bytes) -> None:
        app = self._app
        if request.match_info["app"] != app.app_id:
            raise CallError(404, "App not found: is this the app's cluster?")
        query = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True))
        method, path = request.method, request.path
        check_signature(app.key, app.secret, method, path, query, body, now=time.time())
        if app.state != "enabled":
            raise CallError(403, f"Forbidden: the app is {app.state}")

    def _event(self, _: web.Request, body: bytes) -> dict[str, Any]:
        fields = _object(body)
        channels = fields.get("channels") or [fields.get("channel")]
        if len(channels) > CHANNELS:
            raise CallError(400, f"More than {CHANNELS} channels")
        # All are checked before any is published: a rejected call has no effect.
        for channel in channels:
            self._check_event({**fields, "channel": channel})
        for channel in channels:
            self._publish({**fields, "channel": channel})
        return {}

    def _batch(self, _: web.Request, body: bytes) -> dict[str, Any]:
        batch = _object(body).get("batch")
        if not isinstance(batch, list) or len(batch) > BATCH:
            raise CallError(400, f"A batch has up to {BATCH} events")
        for fields in batch:
            self._check_event(fields)
        for fields in batch:
            self._publish(fields)
        return {}

    def _check_event(self, fields: object) -> None:
        if not isinstance(fields, dict):
            raise CallError(400, "The event is not an object")
        channel, name, data = (fields.get(field) for field in ("channel", "name", "data"))
        if not is_channel_name(channel, self._app.faults):
            raise CallError(400, f"Invalid channel name {str(channel)[:80]!r}")
        if not isinstance(name, str) or not 0 < len(name) <= NAME_LENGTH:
            raise CallError(400, f"An event's name has 1 to {NAME_LENGTH} characters")
        if not isinstance(data, str):
            raise CallError(400, "data is not a string")
        if len(data.encode()) > DATA_BYTES:
            raise CallError(413, f"The data of {name} is over {DATA_BYTES} bytes")

    def _publish(self, fields: Mapping[str, Any]) -> None:
        self._app.channels.publish(
            fields["channel"],
            fields["name"],
            fields["data"],
            excluded_socket=fields.get("socket_id"),
        )

    def _channels(self, request: web.Request, _: bytes) -> dict[str, Any]:
        prefix = request.query.get("filter_by_prefix", "")
        info = _requested_info(request)
        if "user_count" in info and not prefix.startswith("presence-"):
            raise CallError(400, "user_count is for presence channels: set filter_by_prefix")
        occupied = self._app.channels.occupied()
        return {
            "channels": {
                name: {"user_count": len(self._app.channels.members(name))} if info else {}
                for name in occupied
                if name.startswith(prefix)
            }
        }

    def _channel(self, request: web.Request, _: bytes) -> dict[str, Any]:
        name, info = request.match_info["channel"], _requested_info(request)
        channels = self._app.channels
        if "user_count" in info and not name.startswith("presence-"):
            raise CallError(400, "user_count is for presence channels")
        answer: dict[str, Any] = {"occupied": channels.subscribers(name) > 0}
        if "user_count" in info:
            answer["user_count"] = len(channels.members(name))
        if "subscription_count" in info:
            answer["subscription_count"] = channels.subscribers(name)
        return answer

    def _users(self, request: web.Request, _: bytes) -> dict[str, Any]:
        name = request.match_info["channel"]
        if not name.startswith("presence-"):
            raise CallError(400, "Only presence channels have users")
        return {"users": [{"id": user} for user in self._app.channels.members(name)]}

    def _terminate(self, request: web.Request, _: bytes) -> dict[str, Any]:
        self._app.terminate(request.match_info["user"])
        return {}


def check_signature(
    key: str,
    secret: str,
    method: str,
    path: str,
    query: Mapping[str, str],
    body: bytes,
    *,
    now: float,
) -> None:
    """Check the signature of a call (Pusher docs, HTTP API reference, "authentication").

    Args:
        key: the app's public key.
        secret: the secret that signs calls.
        method: the HTTP method.
        path: the path, without the query.
        query: the received query parameters, the signature among them.
        body: the raw body.
        now: the time, in seconds since the Unix epoch.

    Raises:
        CallError: 401, the key, the time, the body's MD5 or the signature is wrong.

    """
    if query.get("auth_key") != key:
        raise CallError(401, "Unknown auth_key")
    try:
        age = abs(now - float(query.get("auth_timestamp", "")))
    except ValueError:
        raise CallError(401, "auth_timestamp is not a Unix time in seconds") from None
    if age > CLOCK_SECONDS:
        raise CallError(401, f"Timestamp expired: {age:.0f} s from the server's clock")
    if body and query.get("body_md5") != hashlib.md5(body).hexdigest():  # noqa: S324 -- the protocol's hash
        raise CallError(401, "body_md5 does not match the body")
    # The parameters as received, not a list of known names: the Python SDK also signs an
    # empty body's MD5. Their values are not percent-encoded in the signed text.
    parameters = sorted(
        (name.lower(), value) for name, value in query.items() if name != _SIGNATURE
    )
    text = "\n".join((method, path, "&".join(map("=".join, parameters))))
    expected = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, query.get(_SIGNATURE, "")):
        raise CallError(401, "Invalid signature")


_SIGNATURE = "auth_signature"


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        raise CallError(400, "The body is not a JSON object")
    return fields


def _requested_info(request: web.Request) -> list[str]:
    return [name for name in request.query.get("info", "").split(",") if name]
