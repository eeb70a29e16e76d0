"""Routes of Pusher's protocol: sockets below `app`, calls of server SDKs below `apps`."""

from collections.abc import Sequence

from realtime_bridge.backend.feed import EphemeralFeed
from realtime_bridge.protocol.pusher.signatures import PusherApp
from realtime_bridge.server.context import ServerContext
from realtime_bridge.server.http.request import HTTPError, Receive, Request, Scope, Send
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.outlets.outlets import Work
from realtime_bridge.server.pusher.authorization import PusherAuthorization
from realtime_bridge.server.pusher.calls import PusherCalls, Revoke
from realtime_bridge.server.pusher.door import PusherDoor, PusherServices
from realtime_bridge.server.pusher.fast import fast_upgrade
from realtime_bridge.server.pusher.socket import serve
from realtime_bridge.server.pusher.webhooks import PusherWebhooks

SOCKETS, CALLS = "app", "apps"


class PusherRoutes:
    """Answers to everything of Pusher's protocol.

    Args:
        app: the credentials.
        context: the parts of the server.
        revoke: ends the connections of a user on all servers.

    """

    def __init__(self, app: PusherApp, context: ServerContext, revoke: Revoke) -> None:
        publish = context.pipeline.broadcaster.publish_many
        timing = context.connections.timing.pusher
        log = context.pipeline.log
        feed = log if isinstance(log, EphemeralFeed) else None
        self._door = PusherDoor(app, context.settings, timing=timing, publish=publish, feed=feed)
        self._services = PusherServices.create(context.connections, self._door, log)
        upgrade = fast_upgrade(self._services, context.settings.path, context.check_open)
        context.fast_upgrades.append(upgrade)
        self._calls = PusherCalls(self._services, revoke)
        self._webhooks = PusherWebhooks(self._services, log, context.settings)
        self.authorization: PusherAuthorization = PusherAuthorization(app)

    def background_work(self) -> Work:
        """Return the work of a started server, by name; none of it ends."""
        return self._webhooks.background_work()

    async def serve_socket(
        self, route: str, request: Request, receive: Receive, send: Send
    ) -> None:
        """Serve an upgrade below `app`.

        Raises:
            HTTPError: the client may not connect.

        """
        await serve(self._services, route.removeprefix(f"{SOCKETS}/"), request, receive, send)

    async def answer(self, route: str, request: Request) -> Response:
        """Answer a call below `apps`.

        Raises:
            HTTPError: the body is too large, or a socket has to be a WebSocket.
            PublishError: the log failed.

        """
        if not route.startswith(f"{CALLS}/"):
            upgrade = {"upgrade": "websocket"}
            raise HTTPError(426, "no_socket", "Connect by a WebSocket", headers=upgrade)
        path = full_path(request.scope)
        return await self._calls.answer(route.removeprefix(f"{CALLS}/"), request, path)


def full_path(scope: Scope) -> str:
    """Return the path as the client sent it: some servers take the root path off, some do not."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path if not root or path.startswith(f"{root}/") else root + path


def route_of(scope: Scope, mounts: Sequence[str]) -> str | None:
    """Return the path from `app/` or `apps/` on, below one of these mount points; else None."""
    path = full_path(scope)
    for mount in mounts:
        for start in (SOCKETS, CALLS):
            if path.startswith(f"{mount}/{start}/"):
                return path.removeprefix(f"{mount}/")
    return None


def mount_of(scope: Scope) -> str:
    """Return the mount point of an application that is mounted at `app` and at `apps`."""
    root = str(scope.get("root_path", "")).rstrip("/")
    for start in (SOCKETS, CALLS):
        if root.endswith(f"/{start}"):
            return root.removesuffix(f"/{start}")
    return root
