"""WebSockets of Pusher's clients on the transport itself, as those of our own clients."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from realtime_bridge.protocol.pusher.codes import PusherCode
from realtime_bridge.server.connections.fast.connection import SLOTS, FastTransport
from realtime_bridge.server.context import FastUpgrade, OpenFast
from realtime_bridge.server.http.request import Request
from realtime_bridge.server.pusher.connection import PusherConnection
from realtime_bridge.server.pusher.door import PusherServices


class FastPusherConnection(FastTransport, PusherConnection):  # type: ignore[misc]  # its slots are its own
    """WebSocket of one of Pusher's clients."""

    flood_code: ClassVar[int] = PusherCode.OVER_CAPACITY
    __slots__ = SLOTS

    @property
    def source_id(self) -> str:
        """The name of the socket as the source of the events that it causes."""
        return self.source


def fast_upgrade(
    services: PusherServices, mount: str, check_open: Callable[[Request], None]
) -> FastUpgrade:
    """Return the function that opens these sockets.

    Other keys and versions have their sockets over ASGI, which closes them with a code.

    Args:
        services: the parts of the server.
        mount: `REALTIME_PATH`.
        check_open: checks that connections are accepted.

    """
    door, key = services.door, services.door.app.key
    paths = (f"/app/{key}", f"{mount}/app/{key}")

    def open_fast(path: str, request: Request) -> OpenFast | None:
        if path not in paths or door.rejection(key, request.query_params.get("protocol")):
            return None
        check_open(request)
        services.authenticator.check_origin(request)
        client = request.scope.get("client")
        address = str(client[0]) if client else ""
        door.acquire_anonymous(address)

        def connect(transport: asyncio.Transport, connections: set[Any]) -> asyncio.Protocol:
            connection = FastPusherConnection(services, transport, connections)
            connection.seat.begin(address)
            connection.open()
            return connection

        return connect

    return open_fast
