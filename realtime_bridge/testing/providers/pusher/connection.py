"""Connection of one client to a local Pusher, by the WebSocket protocol in version 7."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress

import orjson
from aiohttp import WSMsgType, web

from realtime_bridge.protocol.pusher.codes import PusherCode
from realtime_bridge.protocol.pusher.events import encode_frame
from realtime_bridge.protocol.pusher.session import PusherSession, encode_denial
from realtime_bridge.protocol.pusher.session import rejection as protocol_rejection
from realtime_bridge.protocol.pusher.session_commands import (
    Command,
    Deny,
    PusherLimits,
    PusherTiming,
    SignIn,
    Subscribe,
    Unsubscribe,
)
from realtime_bridge.protocol.session.session_commands import Close, Send
from realtime_bridge.testing.providers.faults import FaultyDelivery
from realtime_bridge.testing.providers.pusher.app import PusherApp
from realtime_bridge.testing.providers.pusher.channels import check_channel_name

MAX_QUEUED = 10_000
"""Frames that may wait for a client; the connection of a slower client is cut."""

LIMITS = PusherLimits(channels=10_000, frames_per_second=10_000.0, client_events=True)


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
        self._app = app
        self._socket = socket
        self._transport = transport
        self._delivery = FaultyDelivery(app.faults, self._write)
        self._queue: asyncio.Queue[str] = asyncio.Queue(MAX_QUEUED)
        self._session = PusherSession(
            app.credentials,
            lambda name: check_channel_name(name, app.faults),
            self.socket_id,
            LIMITS,
            # Silence has no end here, so `tick` is never called.
            PusherTiming(activity=app.activity_timeout),
            now=time.monotonic(),
        )

    @property
    def user(self) -> str | None:
        """User that has signed in."""
        return self._session.user

    async def serve(self) -> None:
        """Serve the client until it disconnects."""
        writing = asyncio.create_task(self._write_frames())
        self._perform(self._session.open())
        try:
            async for message in self._socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._perform(self._session.receive(message.data, time.monotonic()))
                    self._app.changes.notify()
        finally:
            self._app.channels.unsubscribe_all(self)
            writing.cancel()

    def send(self, event: str, data: object = None, **fields: object) -> None:
        """Send a frame about this connection."""
        self._write(encode_frame(event, data, **fields).decode())

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

    def _perform(self, commands: Iterable[Command]) -> None:
        channels = self._app.channels
        for command in commands:
            if isinstance(command, Send):
                self._write(command.message.decode())
            elif isinstance(command, Close):
                self._app.run_soon(self.close(command.code, command.reason))
            elif isinstance(command, Subscribe | Deny):
                self._answer(command)
            elif isinstance(command, Unsubscribe):
                channels.unsubscribe(command.name, self)
            elif isinstance(command, SignIn):
                self._perform(self._session.accept_user(command.user, command.user_data))
            else:
                data = orjson.loads(command.data)
                channels.publish_client_event(command.name, command.event, data, self)

    def _answer(self, command: Subscribe | Deny) -> None:
        """Answer a subscription, unless a fault does."""
        faults, name = self._app.faults, command.name
        if name in faults.unanswered:
            return
        if name in faults.failing:
            command = Deny(name, "ServerError", "The channel failed", 500)
        if isinstance(command, Subscribe) and not self._app.channels.has_room(name, command.member):
            # As soketi answers; the service's own words are not known.
            command = Deny(name, "LimitReached", "The maximum of members is reached", 4004)
        if isinstance(command, Subscribe):
            self._app.channels.subscribe(name, self, command.member)
        elif faults.silent_refusals:
            self.send("pusher:error", {"code": None, "message": command.message})
        else:
            self._write(encode_denial(command).decode())


def rejection(app: PusherApp, key: str, protocol: str | None) -> Close | None:
    """Return the close of a client that the app rejects, or None."""
    if key == app.key and app.state == "disabled":
        return Close(PusherCode.APP_DISABLED, "The app is disabled")
    if key == app.key and app.state == "over its quota":
        return Close(PusherCode.OVER_QUOTA, "The app is over its connection quota")
    return protocol_rejection(app.credentials, key, protocol)
