"""Streams over HTTP: reading in several forms, and stopping."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.key_write import check_attempt
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.streams.ag_ui import AGUIRun
from realtime_bridge.protocol.streams.encoder import StreamEncoder
from realtime_bridge.protocol.streams.event_stream import EventStream
from realtime_bridge.protocol.streams.snapshot import check_stream, fold_group, stream_key
from realtime_bridge.protocol.streams.steps import is_over_at, is_past
from realtime_bridge.protocol.streams.ui_message import UIMessageStream
from realtime_bridge.server.endpoints.folding import folding_log
from realtime_bridge.server.endpoints.stream_reader import StreamReader
from realtime_bridge.server.http.request import HTTPError, Request, Send
from realtime_bridge.server.http.requested_positions import read_last_event
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline
from realtime_bridge.server.services import ConnectionServices

_ENCODERS: dict[str, Callable[[str, str], StreamEncoder]] = {
    "events": lambda channel, stream: EventStream(),  # noqa: ARG005 -- as the others
    "ui-message": lambda channel, stream: UIMessageStream(stream),  # noqa: ARG005
    "ag-ui": AGUIRun,
}
_FORMS = (*_ENCODERS, "json")


class _Query(NamedTuple):
    channel: str
    stream: str
    form: str
    after: Position | None
    """Position from which a reader of events resumes."""


class Streams:
    """Endpoints of streams.

    Args:
        services: the parts of the server.
        pipeline: the log and the broadcaster.
        check_open: raises HTTPError while the server accepts no connections.

    """

    def __init__(
        self,
        services: ConnectionServices,
        pipeline: ServerPipeline,
        check_open: Callable[[Request], None],
    ) -> None:
        self._services = services
        self._pipeline = pipeline
        self._check_open = check_open

    async def read(self, request: Request) -> Response:
        """Answer `GET stream?channel=&id=` with Server-Sent Events, or with its present state.

        Raises:
            HTTPError: 400, a parameter is malformed; 403, access is denied; 404, there is no log,
                or no such stream; 409, the stream has another format; 501, the server cannot hold
                a response, or the log keeps no streams.

        """
        services, wanted = self._services, _read_query(request)
        principal = await services.authenticator.identify(request)
        services.budget.check(principal.user, 1, time.monotonic())
        if denial := await services.access.decide(principal, wanted.channel):
            raise denial.to_error()
        log = folding_log(self._pipeline)
        key = stream_key(wanted.stream)

        async def load() -> Page:
            return await backend_call(log, log.latest, wanted.channel, key=key)

        if wanted.form == "json":
            return _describe(wanted.stream, await load())
        self._check_held(request)
        group = await load()
        if _has_nothing(group, wanted):
            return Response(status=204)
        if not services.registry.acquire_slot(principal.user):
            raise HTTPError(
                429,
                "too_many_connections",
                f"{principal.user} has too many connections: close some",
                headers={"retry-after": "5"},
            )
        encoder = _ENCODERS[wanted.form](wanted.channel, wanted.stream)
        reader = StreamReader(
            services,
            principal,
            wanted.channel,
            key,
            start=wanted.after or group,
            load=load,
            encoder=encoder,
        )
        headers = Response.event_stream().headers | dict(encoder.headers)
        return _HeldResponse(headers=headers, reader=reader, request=request)

    async def stop(self, request: Request) -> Response:
        """Answer `POST stream/stop {channel, stream, attempt?}`.

        Raises:
            HTTPError: 400, a field is malformed; 403, the user may not control the channel; 404,
                there is no such stream; 409, it has ended, or another attempt writes it.

        """
        services, body = self._services, await request.json()
        principal = await services.authenticator.identify(request)
        channel, stream = body.get("channel", ""), _check_stream(body.get("stream", ""))
        attempt = _attempt(body.get("attempt"))
        services.budget.check(principal.user, 1, time.monotonic())
        await services.access.require_control(principal, channel)
        folding_log(self._pipeline)  # for its error
        streams = self._pipeline.broadcaster.streams
        reply = await streams.stop(channel, stream, attempt=attempt, by=principal.user)
        match reply.outcome:
            case "stopped":
                return Response.json({"state": "stopped"})
            case "unknown":
                raise _unknown(stream)
            case "ended":
                message = f"Stream {stream} is {reply.state} already"
            case "superseded":
                message = f"Another attempt writes stream {stream}: load its state again"
        raise HTTPError(409, reply.outcome, message, state=reply.state)

    def _check_held(self, request: Request) -> None:
        """Check that this server can hold a response."""
        # A WSGI server would give a worker to each reader: a few pages would occupy them all.
        if self._services.status.is_serverless or "wsgi_environ" in request.scope:
            raise HTTPError(
                501,
                "no_stream_here",
                "Nothing runs here between requests: use format=json, or subscribe to the channel",
            )
        self._check_open(request)


@dataclass(slots=True, kw_only=True)
class _HeldResponse(Response):
    """Response that a reader sends piece by piece."""

    reader: StreamReader
    request: Request

    async def send(self, send: Send, *, head_only: bool = False) -> None:
        """Send the response; to a HEAD request its head alone."""
        await self.reader.serve(self, self.request, send, head_only=head_only)


def _read_query(request: Request) -> _Query:
    """Return the parameters of a request to read.

    Raises:
        HTTPError: 400, one is malformed.

    """
    query = request.query_params
    form = query.get("format", "events")
    if form not in _FORMS:
        raise HTTPError(400, "bad_format", f"format={form[:40]!r}: use {', '.join(_FORMS)}")
    stream, after = _check_stream(query.get("id", "")), read_last_event(request)
    return _Query(query.get("channel", ""), stream, form, after if form == "events" else None)


def _has_nothing(group: Page, wanted: _Query) -> bool:
    """Return whether there is nothing to send, now and later.

    Raises:
        HTTPError: 409, the stream's items have another form.

    """
    if wanted.form == "events":
        # An EventSource would reconnect without an end.
        return wanted.after is not None and is_over_at(group.events, wanted.after)
    if not group.events or is_past(group.events, time.time_ns() // 1_000_000):
        return True
    own = fold_group(group.events).format
    if own not in ("text", wanted.form):
        raise HTTPError(
            409, "other_format", f"The stream has the format {own}: read it as events or json"
        )
    return False


def _describe(stream: str, group: Page) -> Response:
    snapshot = fold_group(group.events)
    if snapshot.state == "unknown":
        raise _unknown(stream)
    return Response.json(
        {
            "stream": stream,
            "attempt": snapshot.attempt,
            "format": snapshot.format,
            "state": snapshot.state,
            "items": snapshot.items,
            "error": snapshot.error,
            "meta": snapshot.meta,
            "position": group.top.to_json(),
            "trimmed": snapshot.trimmed,
        }
    )


def _unknown(stream: str) -> HTTPError:
    return HTTPError(404, "unknown_stream", f"No stream {stream[:80]!r} on this channel")


def _check_stream(stream: Any) -> str:
    try:
        return check_stream(stream)
    except InvalidEventError as error:
        raise HTTPError(400, "bad_stream", str(error)) from error


def _attempt(attempt: Any) -> str | None:
    try:
        check_attempt(attempt)
    except InvalidEventError as error:
        raise HTTPError(400, "bad_attempt", str(error)) from error
    return attempt if isinstance(attempt, str) else None
