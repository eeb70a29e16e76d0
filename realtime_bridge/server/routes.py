"""Routes below the mount point, and responses to failed requests."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from realtime_bridge.server.connections import sse, websocket
from realtime_bridge.server.context import ServerContext
from realtime_bridge.server.endpoints.event_stream import EventStreams, come_back
from realtime_bridge.server.endpoints.publish import WorkerCalls
from realtime_bridge.server.http.cors import CORSPolicy
from realtime_bridge.server.http.request import HTTPError, Receive, Request, Scope, Send
from realtime_bridge.server.http.response import Response, failure
from realtime_bridge.server.lifecycle.lazy_start import LazyStart
from realtime_bridge.server.overload import check_load
from realtime_bridge.server.pusher.routes import PusherRoutes, mount_of, route_of
from realtime_bridge.server.route_table import Route, new_polls, route_table

_LOG_ROUTES = {
    *("poll", "latest", "publish", "stream", "stream/stop", "job/cancel", "job/answer", "apps")
}
"""Routes whose success shows that the log answers."""


class Routes:
    """ASGI application that answers requests and upgrades of one server.

    Args:
        context: the parts of the server.
        lazy_start: prepares for a request where the server is not started.
        pusher: the routes of Pusher's protocol, if the server speaks it.

    """

    def __init__(
        self,
        context: ServerContext,
        lazy_start: LazyStart | None,
        pusher: PusherRoutes | None = None,
    ) -> None:
        self._context = context
        self._lazy_start = lazy_start
        self._pusher = pusher
        self._cors = CORSPolicy(context.authenticator.origins)
        self._worker_calls = WorkerCalls(
            context.signatures,
            context.pipeline,
            context.connections.rejections,
            proof_seconds=context.connections.timing.session.connect,
        )
        self._event_streams = EventStreams(
            context.connections, context.pipeline.log, context.check_open
        )
        polls = new_polls(context)
        self._table = route_table(context, polls, self._worker_calls, pusher)
        context.fast_requests[f"{context.settings.path}/poll"] = partial(
            self._answer_at_once, polls.answer_at_once
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or serve one socket until it closes."""
        request = Request(scope, receive)
        mounts = ("", self._context.settings.path)
        if self._pusher and (route := route_of(scope, mounts)):
            await self._serve_pusher(self._pusher, route, request, receive, send)
            return
        route = path_below(scope, self._context.settings.path)
        if scope["type"] == "websocket":
            await self._upgrade(route, request, scope, receive, send)
        elif route == "sse" and scope["method"] == "GET":
            await self._open_event_stream(request, send)
        elif route == "sse" and scope["method"] != "OPTIONS":
            await self._stream(request, send)
        else:
            response = await self._respond(route, request, scope["method"])
            if "origin" in request.headers:
                self._cors.permit(request, response)
            await response.send(send, head_only=scope["method"] == "HEAD")

    async def serve_pusher(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or a socket of Pusher's protocol, mounted at `app` and `apps`."""
        request, route = Request(scope, receive), route_of(scope, [mount_of(scope)])
        assert self._pusher
        await self._serve_pusher(self._pusher, route or "", request, receive, send)

    async def _serve_pusher(
        self, pusher: PusherRoutes, route: str, request: Request, receive: Receive, send: Send
    ) -> None:
        if request.scope["type"] != "websocket":
            find = partial(pusher.answer, route)
            response = await self._respond("apps", request, request.method, find)
            await response.send(send, head_only=request.method == "HEAD")
            return
        await receive()
        try:
            self._context.check_open(request)
            await pusher.serve_socket(route, request, receive, send)
        except HTTPError as error:
            self._context.connections.statistics.refuse(error.code, str(error))
            await Response.error(error).deny(send, request.scope)

    def _answer_at_once(
        self,
        answer: Callable[[Request, Mapping[str, Any]], Response | None],
        request: Request,
        body: bytes,
    ) -> Response | None:
        """Return the response of a route that reads the log, if it waits for nothing, else None."""
        status = self._context.status
        if self._context.authenticator.guard or not status.is_started:
            return None
        response = answer(request, request.json_of(body))
        if response and status.outage.failures:
            status.outage.works()
        if response and "origin" in request.headers:
            self._cors.permit(request, response)
        return response

    async def _respond(
        self, route: str | None, request: Request, method: str, find: Route | None = None
    ) -> Response:
        try:
            if self._context.authenticator.guard:
                self._context.authenticator.guard.check(request)
            if method == "OPTIONS":
                return self._cors.preflight(request)
            check_load(request.scope)
            if not self._context.status.is_started:
                await self._prepare()
            response = await (find or self._find(route, method))(request)
        except Exception as error:
            # A stranger's path is not written into the log.
            name = route if route in self._table else "other"
            return self._failure(name or "other", error)
        if self._context.status.outage.failures and route in _LOG_ROUTES:
            self._context.status.outage.works()
        return response

    def _failure(self, route: str, error: Exception) -> Response:
        context = self._context
        if isinstance(error, HTTPError):
            context.connections.statistics.refuse(error.code, str(error))
        return failure(route, error, context.status.outage, context.connections.faults)

    async def _prepare(self) -> None:
        if self._lazy_start is None:
            self._context.status.check_started()
        else:
            await self._lazy_start.prepare()

    def _find(self, route: str | None, method: str) -> Route:
        methods = None if route is None else self._table.get(route)
        if methods is None:
            raise HTTPError(404, "not_found", _no_route(route))
        # A load balancer's health check may send HEAD, which RFC 9110 §9.1 requires beside GET.
        found = methods.get("GET" if method == "HEAD" else method)
        if found is None:
            allowed = ", ".join(methods).replace("GET", "GET, HEAD")
            raise HTTPError(
                405,
                "bad_method",
                f"{method} {route} is not allowed: use {allowed}",
                headers={"allow": allowed},
            )
        return found

    async def _upgrade(
        self, route: str | None, request: Request, scope: Scope, receive: Receive, send: Send
    ) -> None:
        await receive()  # `websocket.connect`, which ASGI sends before a reply is allowed
        try:
            self._context.check_open(request)
            if route == "ws":
                principal = self._context.authenticator.authorize_upgrade(request)
                services = self._context.connections
                await websocket.serve(services, principal, scope, receive, send)
            elif route == "publish":
                await self._worker_calls.serve(request, receive, send)
            else:
                await Response.error(_no_socket()).deny(send, scope)
        except HTTPError as error:
            self._context.connections.statistics.refuse(error.code, str(error))
            await Response.error(error).deny(send, scope)

    async def _open_event_stream(self, request: Request, send: Send) -> None:
        try:
            response = await self._event_streams.open(request)
        except Exception as error:
            response = come_back(self._failure("sse", error))
        self._cors.permit(request, response)
        await response.send(send)

    async def _stream(self, request: Request, send: Send) -> None:
        context, rejection, head = self._context, None, Response.event_stream()
        try:
            context.check_open(request)
            limit = context.settings.limit_channels_per_connection
            start = await sse.open_stream(context.authenticator, request, limit=limit)
        except Exception as error:
            rejection = self._failure("sse", error)
        self._cors.permit(request, rejection or head)
        if rejection:
            await rejection.send(send)
        else:
            await sse.StreamConnection(context.connections, request, send).serve(head, *start)


def path_below(scope: Scope, mount_path: str) -> str | None:
    """Return the name of the requested route; None for a path outside of the bridge.

    Each route has one spelling, so that a rule of a proxy for it cannot be evaded: percent-encoded
    letters and further slashes name no route.

    Args:
        scope: the ASGI scope.
        mount_path: `REALTIME_PATH`, without a slash at its end.

    """
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    # ASGI servers and frameworks differ: some leave `root_path` in `path`, some remove it. Behind a
    # proxy that strips the application's own root, only the mount point is left.
    mount = root.removeprefix(str(scope.get("app_root_path", "")).rstrip("/"))
    for prefix in (root, mount):
        if prefix and path.startswith(f"{prefix}/"):
            path = path.removeprefix(prefix)
            break
    raw_path = scope.get("raw_path")
    if raw_path and not raw_path.partition(b"?")[0].endswith(path.encode()):
        return None
    if path.startswith(f"{mount_path}/"):
        path = path.removeprefix(mount_path)
    elif not root:
        return None
    return path.removeprefix("/")


def _no_route(route: str | None) -> str:
    if route is None:
        return "No route outside of the bridge: check the URL of the bridge"
    return f"No route {route[:100]!r}: check the URL of the bridge"


def _no_socket() -> HTTPError:
    return HTTPError(404, "not_found", "No WebSocket at this URL: connect to `ws` below the bridge")
