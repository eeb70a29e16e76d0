"""Connection of one client to a local Pusher, by the WebSocket protocol in version 7."""

import asyncio
import hashlib
import hmac
import time
from collections import deque
from contextlib import suppress
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from realtime_bridge.testing.providers.faults import FaultyDelivery
from realtime_bridge.testing.providers.pusher.app import UNAUTHORIZED, PusherApp
from realtime_bridge.testing.providers.pusher.channels import is_channel_name

PROTOCOLS = ("5", "6", "7")
MAX_QUEUED = 10_000
"""Frames that may wait for a client; the connection of a slower client is cut."""

CLIENT_EVENTS_PER_SECOND = 10
"""Rate limit of each connection (Pusher docs, client events)."""

# Close codes and error codes of the Pusher Channels protocol (Pusher docs, protocol).
APP_UNKNOWN, APP_DISABLED, OVER_QUOTA = 4001, 4003, 4004
NO_PROTOCOL, BAD_PROTOCOL = 4008, 4007
CLIENT_EVENT_REJECTED = 4301


class PusherConnection:
    """Open connection of one client: its requests, and the frames for it."""

    def __init__(
        self,
        app: PusherApp,
        socket: web.WebSocketResponse,
        transport: asyncio.BaseTransport,
        number: int,
    ) -> None:
        # The SDKs accept only digits, a dot and digits.
        self.socket_id: str = f"{number}.{app.faults.random.randrange(10**9)}"
        self.user: str | None = None
        self._app = app
        self._socket = socket
        self._transport = transport
        self._delivery = FaultyDelivery(app.faults, self._write)
        self._queue: asyncio.Queue[str] = asyncio.Queue(MAX_QUEUED)
        self._client_event_times: deque[float] = deque(maxlen=CLIENT_EVENTS_PER_SECOND)

    async def serve(self) -> None:
        """Serve the client until it disconnects."""
        writing = asyncio.create_task(self._write_frames())
        established = {
            "socket_id": self.socket_id,
            "activity_timeout": self._app.activity_timeout,
        }
        self.send("pusher:connection_established", established)
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    self._receive(orjson.loads(message.data))
                    self._app.changes.notify()
        finally:
            self._app.channels.unsubscribe_all(self)
            writing.cancel()

    def send(self, event: str, data: object = None, **fields: object) -> None:
        """Send a frame; the protocol encodes its data as JSON within JSON."""
        frame = {"event": event, **fields}
        if data is not None:
            frame["data"] = orjson.dumps(data).decode()
        self._write(orjson.dumps(frame).decode())

    def deliver(self, frame: str) -> None:
        """Deliver a published event, with the faults of the provider."""
        self._delivery.deliver(frame)

    async def close(self, code: int, reason: str = "") -> None:
        """Close the connection with a code, as the service does."""
        await self._socket.close(code=code, message=reason.encode())

    def cut(self) -> None:
        """Reset the connection without a closing handshake."""
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.abort()

    def _write(self, frame: str) -> None:
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            self.cut()

    async def _write_frames(self) -> None:
        with suppress(ConnectionError):
            while True:
                await self._socket.send_str(await self._queue.get())

    def _receive(self, frame: dict[str, Any]) -> None:
        event, data = str(frame.get("event")), frame.get("data")
        if event == "pusher:ping":
            self.send("pusher:pong", {})
        elif event == "pusher:subscribe":
            self._subscribe(data or {})
        elif event == "pusher:unsubscribe":
            self._app.channels.unsubscribe(str((data or {}).get("channel")), self)
        elif event == "pusher:signin":
            self._sign_in(data or {})
        elif event.startswith("client-"):
            self._publish(event, data, str(frame.get("channel")))

    def _subscribe(self, data: dict[str, Any]) -> None:
        channel, member = str(data.get("channel")), data.get("channel_data")
        faults = self._app.faults
        if channel in faults.unanswered:
            return
        if channel in faults.failing:
            self._refuse(channel, "ServerError", "The channel failed", 500)
            return
        if not is_channel_name(channel, faults):
            self._refuse(channel, "LimitReached", "The channel name is not valid", UNAUTHORIZED)
            return
        if not self._may_subscribe(channel, data.get("auth"), member):
            self._refuse(channel, "AuthError", "The auth signature is wrong", 401)
            return
        user = orjson.loads(str(member)) if channel.startswith("presence-") else None
        self._app.channels.subscribe(channel, self, user)

    def _refuse(self, channel: str, kind: str, text: str, status: int) -> None:
        if self._app.faults.silent_refusals:
            self.send("pusher:error", {"code": None, "message": text})
            return
        error = {"type": kind, "error": text, "status": status}
        self.send("pusher:subscription_error", error, channel=channel)

    def _may_subscribe(self, channel: str, auth: object, member: object) -> bool:
        # After a sign-in pusher-js subscribes to this channel by itself, with an empty `auth`.
        if channel.startswith("#server-to-user-"):
            return self.user is not None and channel == f"#server-to-user-{self.user}"
        if channel.startswith("presence-"):
            return self._is_signed(auth, f"{self.socket_id}:{channel}:{member}")
        if channel.startswith("private-"):
            return self._is_signed(auth, f"{self.socket_id}:{channel}")
        return True

    def _sign_in(self, data: dict[str, Any]) -> None:
        user_data = str(data.get("user_data"))
        if not self._is_signed(data.get("auth"), f"{self.socket_id}::user::{user_data}"):
            self._app.run_soon(self.close(UNAUTHORIZED, "Not signed in"))
            return
        self.user = str(orjson.loads(user_data)["id"])
        self.send("pusher:signin_success", {"user_data": user_data})

    def _is_signed(self, auth: object, text: str) -> bool:
        key, secret = self._app.key, self._app.secret
        signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(f"{key}:{signature}", str(auth))

    def _publish(self, event: str, data: object, channel: str) -> None:
        now, times = time.monotonic(), self._client_event_times
        restricted = channel.startswith(("private-", "presence-"))
        if not restricted or not self._app.channels.has_subscriber(channel, self):
            self._reject("Client events need a subscribed private or presence channel")
        elif len(times) == CLIENT_EVENTS_PER_SECOND and now - times[0] < 1:
            self._reject(f"The rate limit is {CLIENT_EVENTS_PER_SECOND} client events a second")
        else:
            times.append(now)
            self._app.channels.publish_client_event(channel, event, data, self)

    def _reject(self, message: str) -> None:
        self.send("pusher:error", {"code": CLIENT_EVENT_REJECTED, "message": message})


def rejection(app: PusherApp, key: str, protocol: str | None) -> tuple[int, str] | None:
    """Return the close code and the reason for a client that the app rejects, or None."""
    if key != app.key:
        return APP_UNKNOWN, f"App key {key} not in this cluster. Did you forget the cluster?"
    if app.state == "disabled":
        return APP_DISABLED, "The app is disabled"
    if app.state == "over its quota":
        return OVER_QUOTA, "The app is over its connection quota"
    if protocol is None:
        return NO_PROTOCOL, "No protocol version was supplied"
    if protocol not in PROTOCOLS:
        return BAD_PROTOCOL, f"Protocol {protocol} is not supported"
    return None
