"""Calls of Pusher's server SDKs: events, counts of channels, the end of connections."""

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from realtime_bridge.errors import InvalidEventError, InvalidIdentityError
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.pusher.call_error import CallError
from realtime_bridge.protocol.pusher.calls import (
    Trigger,
    client_of,
    read_batch,
    read_event,
    requested_info,
)
from realtime_bridge.protocol.pusher.events import create_event
from realtime_bridge.protocol.pusher.names import MEMBERS, ChannelNameError, decode_name
from realtime_bridge.server.endpoints.poll import call_for_each
from realtime_bridge.server.http.request import Request
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.pusher.door import PusherServices

LARGE_BODIES = 2
"""Bodies over 256 KiB that are read at once: until its end, a body may be a stranger's."""

HINT = "check the secret of the app and the clocks of its servers"

SCOPE = "realtime-scope"
"""Header of answers with counts: `cluster`, or `process` where the log cannot keep them."""


class Revoke(Protocol):
    """Function that ends the connections of a user on all servers; see `Bridge.revoke`."""

    async def __call__(self, *, user: str) -> object:
        """End them."""


class PusherCalls:
    """Answers to the calls of server SDKs.

    Args:
        services: the parts of the server.
        revoke: ends the connections of a user on all servers.

    """

    def __init__(self, services: PusherServices, revoke: Revoke) -> None:
        self._door, self._rooms, self._counts = services.door, services.rooms, services.counts
        self._revoke = revoke
        self._rejections = services.rejections
        self._large_bodies = asyncio.Semaphore(LARGE_BODIES)

    async def answer(self, route: str, request: Request, full_path: str) -> Response:
        """Answer a call; `route` is the path after `apps/`.

        Raises:
            HTTPError: 408 or 413, the body.
            PublishError: the log failed; the SDK may send the same call again.

        """
        try:
            return await self._answer(route, request, full_path)
        except CallError as error:
            return Response(error.status, error.text.encode(), {"content-type": "text/plain"})

    async def _answer(self, route: str, request: Request, full_path: str) -> Response:
        app_id, *parts = route.split("/")
        if app_id != self._door.app.app_id:
            raise CallError(404, "App not found: check the app's id")
        match request.method, *parts:
            case "POST", ("events" | "batch_events") as kind:
                return await self._publish(kind, request, full_path)
            case "GET", "channels":
                await self._check(request, full_path)
                return await self._channels(request)
            case "GET", "channels", name:
                await self._check(request, full_path)
                return await self._channel(name, request)
            case "GET", "channels", name, "users":
                await self._check(request, full_path)
                return await self._users(name)
            case "POST", "users", user, "terminate_connections":
                await self._check(request, full_path)
                return await self._terminate(user)
        raise CallError(404, "No such call: see docs/pusher.md for those that are served")

    async def _check(self, request: Request, full_path: str) -> bytes:
        """Check the signature, and return the body."""
        query = request.query_params
        app, limit = self._door.app, self._door.call_limits.body_bytes
        try:
            # Before the body is read, so that a stranger's takes no memory.
            app.check_form(query, now=time.time())
            body = await request.body(limit, large=self._large_bodies)
            paths = _spellings(request, full_path)
            app.check_call(request.method, paths, query, body, now=time.time())
        except CallError:
            self._rejections.report("call of Pusher's libraries without a valid signature", HINT)
            raise
        return body

    async def _publish(self, kind: str, request: Request, full_path: str) -> Response:
        body = await self._check(request, full_path)
        read = read_event if kind == "events" else read_batch
        triggers = read(body, self._door.call_limits, decode_name)
        for trigger in triggers:
            _check_info(trigger.channel, trigger.info)  # a refusal comes before the events
        # The signature of a repeated call is the same, so that its events are duplicates.
        signature = request.query_params["auth_signature"].lower()
        start = hashlib.sha256(signature.encode()).hexdigest()[:32]
        events = [self._event(one, f"{start}-{n}") for n, one in enumerate(triggers)]
        try:
            await self._door.publish(events)
        except InvalidEventError as error:
            # Text that is no JSON grows, since a string has escapes.
            raise CallError(413, str(error)) from error
        return await self._published(kind, triggers)

    def _event(self, trigger: Trigger, number: str) -> Event:
        socket_id = trigger.socket_id
        source = None
        if socket_id:
            source = client_of(socket_id) or self._door.app.name_source(socket_id)
        try:
            return create_event(
                trigger.channel, trigger.name, trigger.data, id=number, source=source
            )
        except InvalidEventError as error:
            raise CallError(400, str(error)) from error

    async def _published(self, kind: str, triggers: Sequence[Trigger]) -> Response:
        if not any(trigger.info for trigger in triggers):
            return Response.json({})
        all_counts = await self._counts.read()
        counts = [
            await self._info(trigger.channel, trigger.info, all_counts) for trigger in triggers
        ]
        if kind == "batch_events":
            return self._answer_counts({"batch": counts})
        names = [trigger.channel for trigger in triggers]
        return self._answer_counts({"channels": dict(zip(names, counts, strict=True))})

    async def _channels(self, request: Request) -> Response:
        prefix = request.query_params.get("filter_by_prefix", "")
        info = requested_info(request.query_params.get("info"))
        if "user_count" in info and not prefix.startswith(MEMBERS):
            raise CallError(400, f"user_count needs filter_by_prefix={MEMBERS}")
        counts = await self._counts.read()
        names = {name: info for name in sorted(counts) if name.startswith(prefix)}
        read = partial(self._info, counts=counts)
        return self._answer_counts({"channels": await call_for_each(names, read)})

    async def _channel(self, name: str, request: Request) -> Response:
        info = requested_info(request.query_params.get("info"))
        counts = await self._counts.read()
        occupied = {"occupied": name in counts}
        return self._answer_counts(occupied | await self._info(name, info, counts))

    async def _users(self, name: str) -> Response:
        if not name.startswith(MEMBERS):
            raise CallError(400, "Only presence channels have users: ask for presence-…")
        members = await self._rooms.read(_checked(name))
        return Response.json({"users": [{"id": user} for user in members.by_user]})

    async def _info(
        self, name: str, info: Sequence[str], counts: Mapping[str, int]
    ) -> dict[str, Any]:
        _check_info(name, info)
        answer: dict[str, Any] = {}
        if "user_count" in info:
            answer["user_count"] = (await self._rooms.read(_checked(name))).count
        if "subscription_count" in info:
            answer["subscription_count"] = counts.get(name, 0)
        return answer

    def _answer_counts(self, fields: object) -> Response:
        response = Response.json(fields)
        response.headers[SCOPE] = "cluster" if self._counts.is_shared else "process"
        return response

    async def _terminate(self, user: str) -> Response:
        try:
            await self._revoke(user=user)
        except InvalidIdentityError as error:
            raise CallError(400, str(error)) from error
        return Response.json({})


def _check_info(name: str, info: Sequence[str]) -> None:
    if "user_count" in info and not name.startswith(MEMBERS):
        raise CallError(400, "user_count is for presence channels alone")


def _checked(name: str) -> str:
    try:
        decode_name(name)
    except ChannelNameError as error:
        raise CallError(400, str(error)) from error
    return name


def _spellings(request: Request, full_path: str) -> set[str]:
    """Return the spellings of the path: SDKs differ in what they encode before they sign."""
    raw = request.scope.get("raw_path") or b""
    return {full_path, str(request.scope["path"]), raw.partition(b"?")[0].decode("latin-1")}
