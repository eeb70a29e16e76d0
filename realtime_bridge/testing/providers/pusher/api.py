"""HTTP API of a local Pusher, with the signatures, limits and status codes of the service."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from realtime_bridge.protocol.pusher.call_error import CallError
from realtime_bridge.protocol.pusher.calls import (
    CallLimits,
    Trigger,
    read_batch,
    read_event,
    requested_info,
)
from realtime_bridge.testing.providers.pusher.app import PusherApp
from realtime_bridge.testing.providers.pusher.channels import check_channel_name

LIMITS = CallLimits()

_Call = Callable[[web.Request, bytes], dict[str, Any]]


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
        now = time.time()
        app.credentials.check_call(request.method, [request.path], query, body, now=now)
        if app.state != "enabled":
            raise CallError(403, f"Forbidden: the app is {app.state}")

    def _event(self, _: web.Request, body: bytes) -> dict[str, Any]:
        return self._publish(read_event(body, LIMITS, self._check_name))

    def _batch(self, _: web.Request, body: bytes) -> dict[str, Any]:
        return self._publish(read_batch(body, LIMITS, self._check_name))

    def _check_name(self, name: str) -> None:
        check_channel_name(name, self._app.faults)

    def _publish(self, triggers: Sequence[Trigger]) -> dict[str, Any]:
        for trigger in triggers:
            self._app.channels.publish(
                trigger.channel, trigger.name, trigger.data, excluded_socket=trigger.socket_id
            )
        return {}

    def _channels(self, request: web.Request, _: bytes) -> dict[str, Any]:
        prefix = request.query.get("filter_by_prefix", "")
        info = requested_info(request.query.get("info"))
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
        name, info = request.match_info["channel"], requested_info(request.query.get("info"))
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
