"""Backends on a local Pusher, and a client of theirs."""

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection

from realtime_bridge import Event, Position
from realtime_bridge.backend.hosted import AuthorizationRequest
from realtime_bridge.testing.providers import LocalPusher
from realtime_bridge_backends.pusher import PusherBackend

EPOCH = "k3v9q2wz"


def create_backend(pusher: LocalPusher, **changes: Any) -> PusherBackend:
    options: dict[str, Any] = {
        "app_id": pusher.app_id,
        "key": pusher.key,
        "secret": pusher.secret,
        "host": "127.0.0.1",
        "port": pusher.port,
        "tls": False,
        "prefix": "app",
    }
    return PusherBackend(**options | changes)


class Listener:
    """Client of the provider on one channel."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def frame(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            frame: dict[str, Any] = json.loads(await self._socket.recv())
            return frame

    async def event(self) -> dict[str, Any]:
        """Return our frame in the provider's next event."""
        frame = await self.frame()
        assert frame["event"] == "realtime", frame
        assert len(frame["data"].encode()) <= 10_240
        data: dict[str, Any] = json.loads(frame["data"])
        return data

    async def subscribe(self, pusher: LocalPusher, backend: PusherBackend, channel: str) -> None:
        socket_id = json.loads((await self.frame())["data"])["socket_id"]
        name = f"private-app.{channel}"
        fields = {"socket_id": socket_id, "channel_name": name}
        answer = await backend.authorize(fields, auth_request())
        data = {"channel": name, **(answer or {})}
        await self._socket.send(json.dumps({"event": "pusher:subscribe", "data": data}))
        assert (await self.frame())["event"] == "pusher_internal:subscription_succeeded"


def auth_request(user: str = "42", *, allowed: bool = True) -> AuthorizationRequest:
    async def allow(_: str) -> bool:
        return allowed

    return AuthorizationRequest(user=user, client="c_1", seconds=600, allow=allow)


def positioned_event(data: Any, offset: int = 1, channel: str = "job.7") -> Event:
    event = Event(channel=channel, event="job.step", data=data, id=f"{channel}-{offset}")
    return event.with_position(Position(EPOCH, offset, event.id), 1_763_836_800_123)
