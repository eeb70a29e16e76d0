"""Clients of Pusher's protocol for tests: sockets with the frames of pusher-js, and the SDK."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pusher import Pusher
from pusher.aiohttp import AsyncIOBackend
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from realtime_bridge.protocol.pusher.signatures import PusherApp, channel_text, user_text
from tests.server.harness import TIMEOUT, Site

APP = PusherApp("1001", "app-key", "the secret of the app")
ENVIRONMENT = {
    "REALTIME_PUSHER_APP_ID": APP.app_id,
    "REALTIME_PUSHER_KEY": APP.key,
    "REALTIME_PUSHER_SECRET": APP.secret,
}


def sdk_of(origin: str, **changes: Any) -> Pusher:
    """Return Pusher's own SDK for a server."""
    url = urlsplit(origin)
    options = {"app_id": APP.app_id, "key": APP.key, "secret": APP.secret, **changes}
    return Pusher(**options, ssl=False, host=url.hostname, port=url.port, backend=AsyncIOBackend)


class PusherClient:
    """Client that sends the frames of pusher-js."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.socket_id = ""

    async def frame(self) -> dict[str, Any]:
        """Return the next frame, with its data parsed."""
        async with asyncio.timeout(TIMEOUT):
            frame: dict[str, Any] = json.loads(await self.socket.recv())
        if isinstance(frame.get("data"), str):
            try:
                frame["data"] = json.loads(frame["data"])
            except ValueError:
                return frame
        return frame

    async def expect(self, event: str) -> dict[str, Any]:
        frame = await self.frame()
        assert frame["event"] == event, frame
        return frame

    async def greeted(self) -> None:
        data = (await self.expect("pusher:connection_established"))["data"]
        self.socket_id = data["socket_id"]

    async def send(self, event: str, data: object = None, **fields: Any) -> None:
        await self.socket.send(json.dumps({"event": event, "data": data, **fields}))

    async def request(self, name: str, auth: Mapping[str, str] | None = None) -> None:
        """Ask for a subscription, with the signature of the application's own endpoint."""
        signed = APP.sign_for_client(channel_text(self.socket_id, name))
        needed = {"auth": signed} if name.startswith(("private-", "presence-")) else {}
        await self.send("pusher:subscribe", {"channel": name, **(auth or needed)})

    async def subscribe(self, name: str) -> None:
        await self.request(name)
        frame = await self.expect("pusher_internal:subscription_succeeded")
        assert frame == {**frame, "channel": name, "data": {}}

    async def enter(self, name: str, user: object, info: object = None) -> dict[str, Any]:
        """Subscribe to a presence channel, and return the members."""
        await self.ask_to_enter(name, user, info)
        data = (await self.expect("pusher_internal:subscription_succeeded"))["data"]
        members: dict[str, Any] = data["presence"]
        return members

    async def ask_to_enter(self, name: str, user: object, info: object = None) -> None:
        """Ask for a subscription to a presence channel, with a signature of the application."""
        data = json.dumps({"user_id": user} | ({"user_info": info} if info is not None else {}))
        auth = APP.sign_for_client(channel_text(self.socket_id, name, data))
        await self.request(name, {"auth": auth, "channel_data": data})

    async def change(self) -> tuple[str, str]:
        """Return the next user that joins or leaves."""
        frame = await self.frame()
        return frame["event"].removeprefix("pusher_internal:member_"), frame["data"]["user_id"]

    async def refused(self, name: str, auth: Mapping[str, str] | None = None) -> dict[str, Any]:
        await self.request(name, auth)
        frame = await self.expect("pusher:subscription_error")
        assert frame["channel"] == name
        error: dict[str, Any] = frame["data"]
        return error

    async def sign_in(self, user: str) -> None:
        await self.ask_to_sign_in(user)
        await self.expect("pusher:signin_success")

    async def ask_to_sign_in(self, user: str) -> None:
        data = json.dumps({"id": user})
        auth = APP.sign_for_client(user_text(self.socket_id, data))
        await self.send("pusher:signin", {"auth": auth, "user_data": data})

    async def ping(self) -> None:
        """Wait until the server has answered everything before."""
        await self.send("pusher:ping", {})
        await self.expect("pusher:pong")

    async def closed(self) -> int:
        """Read to the end, and return the code of the close."""
        async with asyncio.timeout(TIMEOUT):
            try:
                while True:
                    await self.socket.recv()
            except ConnectionClosed as error:
                return error.rcvd.code if error.rcvd else 1006


async def open_socket(site: Site, path: str = "", **options: Any) -> PusherClient:
    """Open a socket, and read nothing from it."""
    url = f"{site.origin.replace('http', 'ws', 1)}{path}"
    opening = connect(url, compression=None, max_size=None, proxy=None, **options)
    socket = await site.exits.enter_async_context(opening)
    site.exits.callback(socket.transport.abort)
    return PusherClient(socket)


async def connect_pusher(site: Site, path: str = "/app", **options: Any) -> PusherClient:
    """Open a socket as pusher-js, and read the greeting."""
    query = "protocol=7&client=js&version=8.6.0&flash=false"
    client = await open_socket(site, f"{path}/{APP.key}?{query}", **options)
    await client.greeted()
    return client
