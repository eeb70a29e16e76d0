"""The REST API of a local Ably: publish, history, batches, tokens and the time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urlencode

from aiohttp import web

from realtime_bridge.testing.providers import ably_wire as wire
from realtime_bridge.testing.providers.ably_channels import history
from realtime_bridge.testing.providers.ably_keys import Grant, now
from realtime_bridge.testing.providers.ably_wire import RefusedByAbly

if TYPE_CHECKING:
    from realtime_bridge.testing.providers.ably import LocalAbly

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
"""What Ably says with a status, where that is not a hundred times the status."""

_Answer = tuple[int, Any, Mapping[str, str]]
_Call = Callable[[web.Request, Any], _Answer]


class AblyAPI:
    """Answers the calls of the SDKs' REST clients."""

    def __init__(self, ably: "LocalAbly") -> None:
        self._ably = ably

    def routes(self) -> list[web.RouteDef]:
        """Return what is where."""
        messages = "/channels/{channel}/messages"
        return [
            web.get("/time", self._answering(self._time)),
            web.post("/messages", self._answering(self._batch)),
            web.get(messages, self._answering(self._history)),
            web.post(messages, self._answering(self._publish)),
            web.get("/channels/{channel}", self._answering(self._status)),
            web.post("/keys/{key}/requestToken", self._answering(self._request_token)),
            web.options("/{path:.*}", _preflight),
        ]

    def _answering(self, call: _Call) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            self._ably.calls += 1
            form = wire.named(request.headers.get("Accept", ""))
            try:
                await self._fail_as_told()
                status, value, headers = call(request, await _body(request))
            except RefusedByAbly as refused:
                status, value, headers = _refusal(refused)
            return web.Response(
                status=status,
                body=wire.encode(value, form),
                content_type=wire.CONTENT_TYPES[form],
                headers=CORS | dict(headers),
            )

        return answer

    async def _fail_as_told(self) -> None:
        faults = self._ably.faults
        await asyncio.sleep(faults.seconds)
        if faults.status is not None:
            code = _CODES.get(faults.status, faults.status * 100)
            raise RefusedByAbly(code, faults.status, faults.message)

    def _grant(self, request: web.Request) -> Grant:
        return self._ably.keys.by_header(request.headers.get("Authorization", ""))

    def _time(self, _: web.Request, __: Any) -> _Answer:
        return 200, [now()], {}

    def _request_token(self, _: web.Request, body: Any) -> _Answer:
        return 201, self._ably.keys.exchange(_object(body)), {}

    def _publish(self, request: web.Request, body: Any) -> _Answer:
        grant = self._grant(request)
        return 201, self._take(grant, _channel(request), body), {}

    def _take(self, grant: Grant, channel: str, body: Any) -> dict[str, Any]:
        grant.require("publish", channel)
        messages = [wire.incoming(_object(one)) for one in _listed(body)]
        for message in messages:
            own(grant, message)
        serials = self._ably.channels.publish(channel, messages)
        first = str(messages[0].get("id") or serials[0]) if messages else ""
        return {"channel": channel, "messageId": first, "serials": serials}

    def _batch(self, request: web.Request, body: Any) -> _Answer:
        grant = self._grant(request)
        answers = [self._publish_one(grant, _object(one)) for one in _listed(body)]
        return 201, answers if isinstance(body, list) else answers[0], {}

    def _publish_one(self, grant: Grant, spec: Mapping[str, Any]) -> dict[str, Any]:
        channels, messages = _listed(spec.get("channels")), _listed(spec.get("messages"))
        if not 0 < len(channels) <= BATCH_CHANNELS or len(messages) > BATCH_MESSAGES:
            raise RefusedByAbly(40000, 400, "A batch has up to 100 channels and 1000 messages")
        results = [self._batched(grant, str(channel), messages) for channel in channels]
        failed = sum("error" in result for result in results)
        return {
            "successCount": len(results) - failed,
            "failureCount": failed,
            "results": results,
        }

    def _batched(self, grant: Grant, channel: str, messages: list[Any]) -> dict[str, Any]:
        try:
            return self._take(grant, channel, messages)
        except RefusedByAbly as refused:
            return {"channel": channel, "error": refused.to_json()}

    def _history(self, request: web.Request, _: Any) -> _Answer:
        channel = _channel(request)
        self._grant(request).require("history", channel)
        query = request.query
        found = history(
            self._ably.channels.get(channel),
            start=int(query.get("start", 0)),
            end=int(query.get("end", now() + 1)),
            until=query.get("fromSerial") or query.get("from_serial"),
            forwards=query.get("direction") == "forwards",
        )
        limit, skip = int(query.get("limit", 100)), int(query.get("skip", 0))
        form = wire.named(request.headers.get("Accept", ""))
        page = [wire.outgoing(one, form) for one in found[skip : skip + limit]]
        return 200, page, _links(query, limit, skip, more=len(found) > skip + limit)

    def _status(self, request: web.Request, _: Any) -> _Answer:
        channel = _channel(request)
        self._grant(request).require("channel-metadata", channel)
        subscribers = len(self._ably.channels.get(channel).subscribers)
        metrics = {"connections": subscribers, "publishers": 0, "subscribers": subscribers}
        presence = {f"presence{name}": 0 for name in ("Connections", "Members", "Subscribers")}
        status = {"isActive": subscribers > 0, "occupancy": {"metrics": metrics | presence}}
        return 200, {"channelId": channel, "status": status}, {}


def own(grant: Grant, message: wire.Message) -> None:
    """Give the message its sender's client id.

    Raises:
        RefusedByAbly: 40012, it claims to come from another.

    """
    claimed = message.get("clientId")
    if claimed and grant.client not in (None, "*", claimed):
        raise RefusedByAbly(40012, 400, "Mismatched clientId in the message")
    if grant.client and grant.client != "*":
        message["clientId"] = grant.client


async def _preflight(_: web.Request) -> web.Response:
    return web.Response(status=204, headers=CORS)


async def _body(request: web.Request) -> Any:
    data = await request.read()
    if len(data) > BODY_BYTES:
        raise RefusedByAbly(40009, 413, "The body is too large")
    return wire.decode(data, wire.named(request.content_type)) if data else None


def _channel(request: web.Request) -> str:
    """Return the channel of the path; the Python SDK writes a space there as `+`."""
    return unquote_plus(request.raw_path.partition("?")[0].split("/")[2])


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RefusedByAbly(40000, 400, "An object was expected")
    return value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _links(query: Mapping[str, str], limit: int, skip: int, *, more: bool) -> dict[str, str]:
    def link(relation: str, at: int) -> str:
        asked = urlencode(dict(query) | {"limit": limit, "skip": at})
        return f'<./messages?{asked}>; rel="{relation}"'

    links = [link("first", 0)] + ([link("next", skip + limit)] if more else [])
    return {"Link": ", ".join(links)}


def _refusal(refused: RefusedByAbly) -> _Answer:
    headers = {"X-Ably-ErrorCode": str(refused.code), "X-Ably-ErrorMessage": refused.message}
    retry = {"Retry-After": "1"} if refused.status == 429 else {}  # noqa: PLR2004
    return refused.status, {"error": refused.to_json()}, headers | retry
