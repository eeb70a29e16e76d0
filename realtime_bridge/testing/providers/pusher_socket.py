"""One client's connection to a local Pusher: protocol 7, as pusher-js speaks it."""

import asyncio
import hashlib
import hmac
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import WSMsgType, web

from realtime_bridge.testing.providers.faults import Weather

if TYPE_CHECKING:
    from realtime_bridge.testing.providers.pusher import LocalPusher

PROTOCOLS = ("5", "6", "7")
WAITING = 10_000
"""Frames that may wait for a client that does not read; beyond that it is cut."""

CLIENT_EVENTS_PER_SECOND = 10

APP_UNKNOWN, APP_DISABLED, OVER_QUOTA = 4001, 4003, 4004
NO_PROTOCOL, BAD_PROTOCOL, UNAUTHORIZED = 4008, 4007, 4009
CLIENT_EVENT_REJECTED = 4301


class PusherSocket:
    """Reads what a client sends, and writes what its channels have for it."""

    def __init__(
        self,
        pusher: "LocalPusher",
        socket: web.WebSocketResponse,
        transport: asyncio.BaseTransport,
        number: int,
    ) -> None:
        self.socket_id = f"{number}.{pusher.faults.random.randrange(10**9)}"
        self.user: str | None = None
        self._pusher = pusher
        self._socket = socket
        self._transport = transport
        self._weather = Weather(pusher.faults, self._write)
        self._outbox: asyncio.Queue[str] = asyncio.Queue(WAITING)
        self._whispered: deque[float] = deque(maxlen=CLIENT_EVENTS_PER_SECOND)

    async def serve(self) -> None:
        """Serve the client until it leaves."""
        writing = asyncio.create_task(self._flush())
        established = {"socket_id": self.socket_id, "activity_timeout": self._pusher.activity}
        self.send("pusher:connection_established", established)
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    self._take(orjson.loads(message.data))
                    self._pusher.notify()
        finally:
            self._pusher.channels.leave_all(self)
            writing.cancel()

    def send(self, event: str, data: object = None, **fields: object) -> None:
        """Send a frame; its data is JSON within JSON, as the protocol has it."""
        frame = {"event": event, **fields}
        if data is not None:
            frame["data"] = orjson.dumps(data).decode()
        self._write(orjson.dumps(frame).decode())

    def deliver(self, frame: str) -> None:
        """Send an event, in whatever weather there is."""
        self._weather.carry(frame)

    async def close(self, code: int, reason: str = "") -> None:
        """Close it as the provider does."""
        await self._socket.close(code=code, message=reason.encode())

    def cut(self) -> None:
        """End it without a word."""
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.abort()

    def _write(self, frame: str) -> None:
        try:
            self._outbox.put_nowait(frame)
        except asyncio.QueueFull:
            self.cut()

    async def _flush(self) -> None:
        with suppress(ConnectionError):
            while True:
                await self._socket.send_str(await self._outbox.get())

    def _take(self, frame: dict[str, Any]) -> None:
        event, data = str(frame.get("event")), frame.get("data")
        if event == "pusher:ping":
            self.send("pusher:pong", {})
        elif event == "pusher:subscribe":
            self._subscribe(data or {})
        elif event == "pusher:unsubscribe":
            self._pusher.channels.leave(str((data or {}).get("channel")), self)
        elif event == "pusher:signin":
            self._sign_in(data or {})
        elif event.startswith("client-"):
            self._whisper(event, data, str(frame.get("channel")))

    def _subscribe(self, data: dict[str, Any]) -> None:
        channel, member = str(data.get("channel")), data.get("channel_data")
        if not self._may_join(channel, data.get("auth"), member):
            refusal = {"type": "AuthError", "error": "The auth signature is wrong", "status": 401}
            self.send("pusher:subscription_error", refusal, channel=channel)
            return
        present = orjson.loads(str(member)) if channel.startswith("presence-") else None
        self._pusher.channels.join(channel, self, present)

    def _may_join(self, channel: str, auth: object, member: object) -> bool:
        if channel.startswith("#server-to-user-"):
            return self.user is not None and channel == f"#server-to-user-{self.user}"
        if channel.startswith("presence-"):
            return self._signed(auth, f"{self.socket_id}:{channel}:{member}")
        if channel.startswith("private-"):
            return self._signed(auth, f"{self.socket_id}:{channel}")
        return True

    def _sign_in(self, data: dict[str, Any]) -> None:
        user_data = str(data.get("user_data"))
        if not self._signed(data.get("auth"), f"{self.socket_id}::user::{user_data}"):
            self._pusher.soon(self.close(UNAUTHORIZED, "Not signed in"))
            return
        self.user = str(orjson.loads(user_data)["id"])
        self.send("pusher:signin_success", {"user_data": user_data})

    def _signed(self, auth: object, text: str) -> bool:
        key, secret = self._pusher.key, self._pusher.secret
        signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(f"{key}:{signature}", str(auth))

    def _whisper(self, event: str, data: object, channel: str) -> None:
        now = time.monotonic()
        private = channel.startswith(("private-", "presence-"))
        if not private or not self._pusher.channels.has(channel, self):
            self._reject("Client events are for private and presence channels one is subscribed to")
        elif len(self._whispered) == CLIENT_EVENTS_PER_SECOND and now - self._whispered[0] < 1:
            self._reject(f"The rate limit is {CLIENT_EVENTS_PER_SECOND} client events a second")
        else:
            self._whispered.append(now)
            self._pusher.channels.whisper(channel, event, data, self)

    def _reject(self, message: str) -> None:
        self.send("pusher:error", {"code": CLIENT_EVENT_REJECTED, "message": message})


def refusal(pusher: "LocalPusher", key: str, protocol: str | None) -> tuple[int, str] | None:
    """Return the close code for a client that is not let in, and why."""
    if key != pusher.key:
        return APP_UNKNOWN, f"App key {key} not in this cluster. Did you forget the cluster?"
    if pusher.state == "disabled":
        return APP_DISABLED, "The app is disabled"
    if pusher.state == "over its quota":
        return OVER_QUOTA, "The app is over its connection quota"
    if protocol is None:
        return NO_PROTOCOL, "No protocol version was supplied"
    if protocol not in PROTOCOLS:
        return BAD_PROTOCOL, f"Protocol {protocol} is not supported"
    return None
