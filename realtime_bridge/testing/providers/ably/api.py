"""REST API of a local Ably: publish, history, batches, tokens and the time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_plus, urlencode

from aiohttp import web

from realtime_bridge.testing.providers.ably import protocol
from realtime_bridge.testing.providers.ably.application import AblyApplication
from realtime_bridge.testing.providers.ably.grant import Grant, now
from realtime_bridge.testing.providers.ably.protocol import AblyError

# Limits of a batch publish (Ably docs, batch API).
BATCH_CHANNELS = 100
BATCH_MESSAGES = 1_000
BODY_BYTES = 2 * 1024 * 1024

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "*, Authorization",
    "Access-Control-Expose-Headers": "Link, X-Ably-ErrorCode, X-Ably-ErrorMessage",
}

_CODES = {401: 40101, 403: 40300, 413: 40009, 429: 42910}
"""Ably's code for each status whose code is not a hundred times the status."""

_Response = tuple[int, Any, Mapping[str, str]]
_Call = Callable[[web.Request, Any], _Response]


class AblyAPI:
    """Handlers for the calls of the SDKs' REST clients."""

    def __init__(self, application: AblyApplication) -> None:
        self._application = application

    def routes(self) -> list[web.RouteDef]:
        """Return the API's routes."""
        messages = "/channels/{channel}/messages"
        return [
            web.get("/time", self._handler(self._time)),
            web.post("/messages", self._handler(self._batch)),
            web.get(messages, self._handler(self._history)),
            web.post(messages, self._handler(self._publish)),
            web.get("/channels/{channel}", self._handler(self._status)),
            web.post("/keys/{key}/requestToken", self._handler(self._request_token)),
            web.post("/keys/{key}/revokeTokens", self._handler(self._revoke_tokens)),
            web.options("/{path:.*}", _preflight),
        ]

    def _handler(self, call: _Call) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            self._application.calls += 1
            form = protocol.format_of(request.headers.get("Accept", ""))
            try:
                await self._apply_faults()
                status, value, headers = call(request, await _body(request))
            except AblyError as error:
                status, value, headers = _error_response(error)
                if self._application.faults.error_in_body:
                    status, headers = HTTPStatus.OK, {}
            if self._application.faults.html:
                return web.Response(text="<html>", content_type="text/html", headers=CORS)
            # ably-python needs a content type, and browsers need the CORS headers.
            return web.Response(
                status=status,
                body=protocol.encode(value, form),
                content_type=protocol.CONTENT_TYPES[form],
                headers=CORS | dict(headers),
            )

        return handle

    async def _apply_faults(self) -> None:
        faults = self._application.faults
        await asyncio.sleep(faults.seconds)
        if faults.status is not None:
            code = _CODES.get(faults.status, faults.status * 100)
            raise AblyError(code, faults.status, faults.message)

    def _grant(self, request: web.Request) -> Grant:
        return self._application.keys.by_header(request.headers.get("Authorization", ""))

    def _time(self, _: web.Request, __: Any) -> _Response:
        return 200, [now()], {}

    def _request_token(self, _: web.Request, body: Any) -> _Response:
        return 201, self._application.keys.exchange(_object(body)), {}

    def _revoke_tokens(self, request: web.Request, body: Any) -> _Response:
        application, targets = self._application, _as_list(_object(body).get("targets"))
        application.keys.require_key(request.headers.get("Authorization", ""))
        application.revoke([str(target) for target in targets])
        times = {"issuedBefore": now(), "appliesAt": now()}
        results = [{"target": target, **times} for target in targets]
        return 201, {"successCount": len(results), "failureCount": 0, "results": results}, {}

    def _publish(self, request: web.Request, body: Any) -> _Response:
        grant = self._grant(request)
        return 201, self._store(grant, _channel(request), body), {}

    def _store(self, grant: Grant, channel: str, body: Any) -> dict[str, Any]:
        grant.require("publish", channel)
        messages = [protocol.parse_message(_object(one)) for one in _as_list(body)]
        for message in messages:
            grant.set_client_id(message)
        serials = self._application.channels.publish(channel, messages)
        first = str(messages[0].get("id") or serials[0]) if messages else ""
        return {"channel": channel, "messageId": first, "serials": serials}

    def _batch(self, request: web.Request, body: Any) -> _Response:
        grant = self._grant(request)
        results = [self._publish_spec(grant, _object(spec)) for spec in _as_list(body)]
        return 201, results if isinstance(body, list) else results[0], {}

    def _publish_spec(self, grant: Grant, spec: Mapping[str, Any]) -> dict[str, Any]:
        channels, messages = _as_list(spec.get("channels")), _as_list(spec.get("messages"))
        if not 0 < len(channels) <= BATCH_CHANNELS or len(messages) > BATCH_MESSAGES:
            raise AblyError(40000, 400, "A batch has up to 100 channels and 1000 messages")
        results = [self._store_in_batch(grant, str(channel), messages) for channel in channels]
        failures = sum("error" in result for result in results)
        return {
            "successCount": len(results) - failures,
            "failureCount": failures,
            "results": results,
        }

    def _store_in_batch(self, grant: Grant, channel: str, messages: list[Any]) -> dict[str, Any]:
        try:
            return self._store(grant, channel, messages)
        except AblyError as error:
            return {"channel": channel, "error": error.to_json()}

    def _history(self, request: web.Request, _: Any) -> _Response:
        channel = _channel(request)
        self._grant(request).require("history", channel)
        query = request.query
        messages = self._application.channels.get(channel).history(
            start=int(query.get("start", 0)),
            end=int(query.get("end", now() + 1)),
            until=query.get("fromSerial") or query.get("from_serial"),
            forwards=query.get("direction") == "forwards",
        )
        limit, skip = int(query.get("limit", 100)), int(query.get("skip", 0))
        form = protocol.format_of(request.headers.get("Accept", ""))
        page = [protocol.render_message(one, form) for one in messages[skip : skip + limit]]
        return 200, page, _links(query, limit, skip, more=len(messages) > skip + limit)

    def _status(self, request: web.Request, _: Any) -> _Response:
        channel = _channel(request)
        self._grant(request).require("channel-metadata", channel)
        subscribers = len(self._application.channels.get(channel).subscribers)
        metrics = {"connections": subscribers, "publishers": 0, "subscribers": subscribers}
        presence = {f"presence{name}": 0 for name in ("Connections", "Members", "Subscribers")}
        status = {"isActive": subscribers > 0, "occupancy": {"metrics": metrics | presence}}
        return 200, {"channelId": channel, "status": status}, {}


async def _preflight(_: web.Request) -> web.Response:
    return web.Response(status=204, headers=CORS)


async def _body(request: web.Request) -> Any:
    data = await request.read()
    if len(data) > BODY_BYTES:
        raise AblyError(40009, 413, "The body is too large")
    return protocol.decode(data, protocol.format_of(request.content_type)) if data else None


def _channel(request: web.Request) -> str:
    """Return the channel's name from the path."""
    # ably-python writes a space in the path as `+`, ably-js as `%20`.
    return unquote_plus(request.raw_path.partition("?")[0].split("/")[2])


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise AblyError(40000, 400, "The body contains no object")
    return value


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _links(query: Mapping[str, str], limit: int, skip: int, *, more: bool) -> dict[str, str]:
    def link(relation: str, at: int) -> str:
        parameters = urlencode(dict(query) | {"limit": limit, "skip": at})
        # ably-js follows only relative links of this form.
        return f'<./messages?{parameters}>; rel="{relation}"'

    links = [link("first", 0)] + ([link("next", skip + limit)] if more else [])
    return {"Link": ", ".join(links)}


def _error_response(error: AblyError) -> _Response:
    headers = {"X-Ably-ErrorCode": str(error.code), "X-Ably-ErrorMessage": error.message}
    retry = {"Retry-After": "1"} if error.status == HTTPStatus.TOO_MANY_REQUESTS else {}
    return error.status, {"error": error.to_json()}, headers | retry
