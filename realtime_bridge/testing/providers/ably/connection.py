"""Connection of one client to a local Ably, by the realtime protocol."""

import asyncio
from contextlib import suppress

from aiohttp import WSMsgType, web

from realtime_bridge.testing.providers.ably import protocol
from realtime_bridge.testing.providers.ably.application import (
    SESSION_MILLISECONDS,
    AblyApplication,
    Session,
)
from realtime_bridge.testing.providers.ably.attachments import Attachments
from realtime_bridge.testing.providers.ably.channels import MESSAGE_BYTES
from realtime_bridge.testing.providers.ably.grant import Grant, now
from realtime_bridge.testing.providers.ably.protocol import AblyError, Action, Frame, Message

IDLE_MILLISECONDS = 15_000
"""Longest silence of a connection; a client closes it 10 s later (Ably specification RTN23a)."""

MESSAGES_PER_SECOND = 50
"""Rate limit that CONNECTED announces, in each direction (Ably docs, limits)."""

MAX_QUEUED = 10_000
"""Frames that may wait for a client; the connection of a slower client is cut."""


class AblyConnection:
    """Open connection of one client: its requests, and the frames for it.

    Annotations and objects are not implemented: their frames are ignored.
    """

    def __init__(
        self,
        application: AblyApplication,
        socket: web.WebSocketResponse,
        transport: asyncio.BaseTransport | None,
        session: Session,
        grant: Grant,
        *,
        form: protocol.Format,
        echo: bool,
    ) -> None:
        self.session = session
        self._application = application
        self._socket = socket
        self._transport = transport
        self._grant = grant
        self._form = form
        self._attachments = Attachments(
            application, session.id, form=form, echo=echo, send=self.send
        )
        self._queue: asyncio.Queue[Frame] = asyncio.Queue(MAX_QUEUED)
        self._actions = {
            Action.HEARTBEAT: self._answer_ping,
            Action.CLOSE: self._close,
            Action.ATTACH: lambda frame: self._attachments.attach(self._grant, frame),
            Action.DETACH: self._attachments.detach,
            Action.MESSAGE: self._publish,
            Action.PRESENCE: self._change_presence,
            Action.AUTH: self._renew,
        }

    @property
    def grant(self) -> Grant:
        """Permissions of the client's token."""
        return self._grant

    async def serve(self, lost: AblyError | None) -> None:
        """Serve the client until it disconnects; `lost` is the reason of a failed resume."""
        tasks = [
            asyncio.create_task(task)
            for task in (self._write_frames(), self._send_heartbeats(), self._watch_expiry())
        ]
        self._welcome(lost)
        try:
            async for message in self._socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._receive(protocol.decode(message.data, self._form))
        finally:
            self.session.disconnected_at = now()
            self._attachments.unsubscribe_all()
            loop, absence = asyncio.get_running_loop(), self._application.absence_seconds
            loop.call_later(absence, self._leave_if_lost)
            for task in tasks:
                task.cancel()

    def _leave_if_lost(self) -> None:
        if self.session.disconnected_at is not None:
            self._application.rooms.leave_all(self.session.id)

    def send(self, frame: Frame) -> None:
        """Send a frame; cut the connection of a client that does not read."""
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            self.cut()

    def end(self, error: AblyError | None, action: Action = Action.DISCONNECTED) -> None:
        """End the connection, with a reason or without one, as the service does."""
        reason = {"error": error.to_json()} if error else {}
        self.send({"action": action, **reason})

    def fail_channel(self, name: str, error: AblyError) -> None:
        """End one channel with an error, if it is attached."""
        self._attachments.fail(name, error)

    def cut(self) -> None:
        """Reset the connection without a closing handshake."""
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.abort()

    async def _write_frames(self) -> None:
        with suppress(ConnectionError):
            while True:
                frame = await self._queue.get()
                await protocol.send(self._socket, frame, self._form)
                if _is_final(frame):
                    await self._socket.close()

    async def _send_heartbeats(self) -> None:
        # A browser does not show WebSocket pings to ably-js: only frames count.
        while True:
            await asyncio.sleep(IDLE_MILLISECONDS / 2_000)
            self.send({"action": Action.HEARTBEAT})

    async def _watch_expiry(self) -> None:
        """Request a new token before the expiry; end the connection without one."""
        while (expires := self._grant.expires) is not None:
            grant = self._grant
            remaining = (expires - now()) / 1_000
            await asyncio.sleep(max(0.0, remaining - self._application.renewal_seconds))
            if grant is self._grant:
                self.send({"action": Action.AUTH})
            await asyncio.sleep(max(0.0, (expires - now()) / 1_000))
            if grant is self._grant:
                self.end(AblyError(40142, 401, "Token expired"))
                break

    def _welcome(self, lost: AblyError | None = None) -> None:
        # ably-js throws without `connectionDetails`, and expects this frame before any other.
        details = {
            "clientId": self._grant.client,
            "connectionKey": self.session.key,
            "maxMessageSize": MESSAGE_BYTES,
            "maxInboundRate": MESSAGES_PER_SECOND,
            "maxOutboundRate": MESSAGES_PER_SECOND,
            "maxFrameSize": 4 * MESSAGE_BYTES,
            "serverId": "local",
            "connectionStateTtl": SESSION_MILLISECONDS,
            "maxIdleInterval": IDLE_MILLISECONDS,
        }
        connected = {"connectionId": self.session.id, "connectionDetails": details}
        error = {"error": lost.to_json()} if lost else {}
        self.send({"action": Action.CONNECTED, **connected, **error})

    def _receive(self, frame: Frame) -> None:
        act = self._actions.get(frame.get("action", -1))
        if act is None:
            return  # the protocol requires servers to ignore unknown actions
        try:
            act(frame)
        except AblyError as error:
            where = {"channel": frame["channel"]} if frame.get("channel") is not None else {}
            self.send({"action": Action.ERROR, "error": error.to_json(), **where})

    def _answer_ping(self, frame: Frame) -> None:
        if frame.get("id"):
            self.send({"action": Action.HEARTBEAT, "id": frame["id"]})

    def _close(self, _: Frame) -> None:
        self._application.sessions.remove(self.session)
        self._application.rooms.leave_all(self.session.id)
        self.send({"action": Action.CLOSED})

    def _renew(self, frame: Frame) -> None:
        grant = self._application.keys.by_token(str((frame.get("auth") or {}).get("accessToken")))
        if self._grant.client not in (None, grant.client):
            raise AblyError(40102, 401, "The new token belongs to another client id")
        self._grant = grant
        self._welcome()
        self._attachments.apply_grant(grant)

    def _publish(self, frame: Frame) -> None:
        serial = int(frame.get("msgSerial") or 0)
        # `count` counts frames: ably-go panics at a wrong number.
        answer: Frame = {"msgSerial": serial, "count": 1}
        if serial < self.session.next_serial:  # repeated after a drop, and stored before
            return self.send({"action": Action.ACK, **answer})
        self.session.next_serial = serial + 1
        try:
            serials = self._store(str(frame.get("channel") or ""), frame.get("messages") or [])
        except AblyError as error:
            return self.send({"action": Action.NACK, "error": error.to_json(), **answer})
        return self.send({"action": Action.ACK, "res": [{"serials": serials}], **answer})

    def _store(self, channel: str, received: list[Message]) -> list[str]:
        self._grant.require("publish", channel)
        messages = [protocol.parse_message(message) for message in received]
        for message in messages:
            self._grant.set_client_id(message)
        return self._application.channels.publish(channel, messages, self.session.id)

    def _change_presence(self, frame: Frame) -> None:
        serial = int(frame.get("msgSerial") or 0)
        answer: Frame = {"msgSerial": serial, "count": 1}
        self.session.next_serial = max(self.session.next_serial, serial + 1)
        try:
            self._application.rooms.handle(frame, self._grant, self.session.id)
        except AblyError as error:
            return self.send({"action": Action.NACK, "error": error.to_json(), **answer})
        return self.send({"action": Action.ACK, **answer})


def _is_final(frame: Frame) -> bool:
    """Return whether the connection ends with this frame."""
    fatal = frame["action"] == Action.ERROR and frame.get("channel") is None
    return fatal or frame["action"] in (Action.CLOSED, Action.DISCONNECTED)
