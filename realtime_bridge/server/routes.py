"""Routes below the mount point, and responses to failed requests."""

from collections.abc import Awaitable, Callable
from functools import partial

from realtime_bridge.server.connections import sse, websocket
from realtime_bridge.server.context import ServerContext
from realtime_bridge.server.endpoints import connect, health, provider_auth, publish
from realtime_bridge.server.endpoints.metrics import metrics
from realtime_bridge.server.endpoints.poll import Polls
from realtime_bridge.server.http import client_js
from realtime_bridge.server.http.cors import CORSPolicy
from realtime_bridge.server.http.request import HTTPError, Receive, Request, Scope, Send
from realtime_bridge.server.http.response import Response, failure

Route = Callable[[Request], Awaitable[Response]]


class Routes:
    """ASGI application that answers requests and upgrades of one server."""

    def __init__(self, engine: ServerContext) -> None:
        self._engine = engine
        self._origins = CORSPolicy(engine.settings.origins)
        self._table = self._tabulate()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or serve one socket until it closes."""
        request, route = Request(scope, receive), self._route(scope)
        if scope["type"] == "websocket":
            await self._upgrade(route, request, scope, receive, send)
        elif route == "sse" and request.method != "OPTIONS":
            await self._stream(request, send)
        else:
            response = await self._respond(route, request)
            self._origins.permit(request, response)
            await response.send(send)

    def _tabulate(self) -> dict[str, dict[str, Route]]:
        engine, polls = self._engine, Polls(self._engine)
        auth: dict[str, dict[str, Route]] = {
            f"auth/{backend.provider}": {"POST": partial(provider_auth.authorize, engine, backend)}
            for backend in engine.carriers.hosted
        }
        files: dict[str, dict[str, Route]] = {
            name: {"GET": partial(client_js.script, name)} for name in client_js.names()
        }
        return (
            auth
            | files
            | {
                "connect": {"POST": lambda request: connect.connect(engine, request)},
                "poll": {"POST": polls.poll},
                "latest": {"GET": polls.latest},
                "publish": {"POST": lambda request: publish.publish(engine, request)},
                "health": {"GET": lambda _: health.report(engine)},
                "health/live": {"GET": lambda _: health.live()},
                "health/ready": {"GET": lambda _: health.ready(engine)},
                "metrics": {"GET": lambda _: metrics(engine)},
            }
        )

    def _route(self, scope: Scope) -> str:
        """Return the path below the mount point."""
        # ASGI servers and frameworks differ: some leave `root_path` in `path`, some remove it.
        path, root = scope["path"], scope.get("root_path", "").rstrip("/")
        for prefix in (root, self._engine.settings.path):
            if prefix and path.startswith(prefix + "/"):
                path = path.removeprefix(prefix)
        return str(path).strip("/")

    async def _respond(self, route: str, request: Request) -> Response:
        try:
            if request.method == "OPTIONS":
                return self._origins.preflight(request)
            await self._engine.wake()
            return await self._find(route, request.method)(request)
        except Exception as error:
            return failure(route, error)

    def _find(self, route: str, method: str) -> Route:
        methods = self._table.get(route)
        if methods is None:
            raise HTTPError(
                404, "not_found", f"No route {route[:100]!r}: check the URL below the bridge"
            )
        if method not in methods:
            allowed = {"allow": ", ".join(methods)}
            raise HTTPError(
                405,
                "bad_method",
                f"{method} {route} is not allowed: use {allowed['allow']}",
                headers=allowed,
            )
        return methods[method]

    async def _upgrade(
        self, route: str, request: Request, scope: Scope, receive: Receive, send: Send
    ) -> None:
        await receive()  # `websocket.connect`, which ASGI sends before a reply is allowed
        try:
            self._engine.check_open()
            serve = _SOCKETS.get(route, _no_socket)
            await serve(self._engine, request, scope, receive, send)
        except HTTPError as error:
            await Response.error(error).deny(send, scope)

    async def _stream(self, request: Request, send: Send) -> None:
        rejection, head = None, sse.stream_response()
        try:
            self._engine.check_open()
            opened = await sse.open_stream(self._engine, request)
        except Exception as error:
            rejection = failure("sse", error)
        self._origins.permit(request, rejection or head)
        if rejection:
            await rejection.send(send)
        else:
            await sse.StreamConnection(self._engine, request, send).serve(head, *opened)


async def _no_socket(*_: object) -> None:
    raise HTTPError(404, "not_found", "No WebSocket at this URL: connect to `ws` below the bridge")


_SOCKETS = {"ws": websocket.serve, "publish": publish.serve}
