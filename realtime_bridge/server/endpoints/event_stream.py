"""Channels as plain Server-Sent Events: the request, and the response that stays open."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from realtime_bridge.backend.log import Log
from realtime_bridge.protocol.wire.last_event_id import parse_last_event_id
from realtime_bridge.protocol.wire.plain_events import FORMS, encode_retry
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.endpoints.event_channels import StreamRequest
from realtime_bridge.server.endpoints.event_source import EventSourceConnection
from realtime_bridge.server.http.request import HTTPError, Request, Send
from realtime_bridge.server.http.requested_positions import read_channel
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.services import ConnectionServices

MAX_CHANNELS = 8
"""The most channels of one stream: the id of each of its events has the position of each."""

_RETRY_MS = 2_000, 5_000
"""Wait before a reader connects again: drawn, so that many do not come at the same moment."""

_NOT_NOW = 503
"""Status of a server that drains, does not run, or does not reach its log."""


class EventStreams:
    """Endpoint of plain event streams.

    Args:
        services: the parts of the server.
        log: the log.
        check_open: raises HTTPError while the server accepts no connections.

    """

    def __init__(
        self, services: ConnectionServices, log: Log, check_open: Callable[[Request], None]
    ) -> None:
        self._services = services
        self._log = log
        self._check_open = check_open

    async def open(self, request: Request) -> Response:
        """Answer `GET sse?channel=` with a stream that stays open.

        Raises:
            HTTPError: 400, a parameter is malformed; 401, there is no identity; 403, access is
                denied; 404, there is no log; 409, the user has too many connections; 500, a rule
                failed; 501, the server cannot hold a response; 503, it accepts none now.

        """
        self._check_held(request)
        wanted = read_stream_request(request)
        principal = await self._services.authenticator.identify(request)
        await self._authorize(principal, wanted)
        if not self._services.registry.acquire_slot(principal.user):
            raise HTTPError(
                409,
                "too_many_connections",
                f"{principal.user} has too many connections: close some, or use one stream for "
                "several channels",
            )
        connection = EventSourceConnection(
            self._services, self._log, principal, wanted, retry=_draw_retry()
        )
        headers = Response.event_stream().headers
        return _OpenResponse(headers=headers, connection=connection, request=request)

    def _check_held(self, request: Request) -> None:
        # A WSGI server would give a worker to each reader: a few pages would occupy them all.
        if self._services.status.is_serverless or "wsgi_environ" in request.scope:
            raise HTTPError(
                501,
                "no_stream_here",
                "Nothing runs here between requests: poll, or run the bridge in an ASGI server",
            )
        self._check_open(request)

    async def _authorize(self, principal: Principal, wanted: StreamRequest) -> None:
        services = self._services
        services.budget.check(principal.user, len(wanted.channels), time.monotonic())
        for channel in wanted.channels:
            if denial := await services.access.decide(principal, channel):
                raise denial.to_error()


def come_back(failure: Response) -> Response:
    """Return the answer to a request that failed: if it may succeed later, a stream that ends.

    An EventSource never tries again after 503; it does after the end of a stream.
    """
    if failure.status != _NOT_NOW:
        return failure
    reason = orjson.loads(failure.body)["error"]["message"]
    body = encode_retry(_draw_retry(), reason=reason)
    return Response(headers=Response.event_stream().headers, body=body)


def read_stream_request(request: Request) -> StreamRequest:
    """Return the parameters of a request.

    Raises:
        HTTPError: 400, one is malformed.

    """
    query = request.query_params
    channels = dict.fromkeys(map(read_channel, request.query_list("channel")))
    if not 0 < len(channels) <= MAX_CHANNELS:
        raise HTTPError(
            400,
            "bad_channel",
            f"{len(channels)} channels: send channel=NAME, 1 to {MAX_CHANNELS} times",
        )
    form = next((name for name in FORMS if name == query.get("as", "json")), None)
    if form is None:
        raise HTTPError(400, "bad_form", f"as={query['as'][:40]!r}: use {', '.join(FORMS)}")
    snapshot = query.get("snapshot", "0")
    if snapshot not in ("0", "1"):
        raise HTTPError(400, "bad_snapshot", f"snapshot={snapshot[:40]!r}: use 1, or leave it out")
    text = request.headers.get("last-event-id") or query.get("last_event_id", "")
    try:
        points = parse_last_event_id(text)
    except ValueError as error:
        raise HTTPError(400, "bad_position", str(error)) from error
    resumed = {name: point for name, point in points.items() if name in channels}
    return StreamRequest(tuple(channels), form, snapshot == "1", resumed)


def _draw_retry() -> int:
    return random.randint(*_RETRY_MS)  # noqa: S311 -- it spreads reconnects


@dataclass(slots=True, kw_only=True)
class _OpenResponse(Response):
    """Response that a connection sends piece by piece."""

    connection: EventSourceConnection
    request: Request

    async def send(self, send: Send, *, head_only: bool = False) -> None:  # noqa: ARG002 -- GET alone
        """Send the response."""
        await self.connection.serve(self, self.request, send)
