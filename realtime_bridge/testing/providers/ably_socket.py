"""One client's connection to a local Ably, as its realtime protocol has it."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from realtime_bridge.testing.providers import ably_wire as wire
from realtime_bridge.testing.providers.ably_api import own
from realtime_bridge.testing.providers.ably_attachments import Attachments
from realtime_bridge.testing.providers.ably_channels import MESSAGE_BYTES
from realtime_bridge.testing.providers.ably_keys import Grant, now
from realtime_bridge.testing.providers.ably_wire import Action, Frame, Message, RefusedByAbly

if TYPE_CHECKING:
    from realtime_bridge.testing.providers.ably import LocalAbly

IDLE_MILLISECONDS = 15_000
"""ConnectionRegistry expect to hear something at least this often."""

STATE_MILLISECONDS = 120_000
"""How long after a drop a client may come back as the same connection."""

WAITING = 10_000
"""How many frames may wait for a client before its connection is cut."""

RENEWAL_SECONDS = 30.0
"""How long before a token expires its client is asked for another."""


@dataclass(kw_only=True)
class Session:
    """What of a connection outlives its socket.

    Args:
        id: the connection's name, for everybody.
        key: what only its client knows, to come back with.
        expected: the number of the next message it publishes.
        left: when its socket was lost, in milliseconds since the Unix epoch.

    """

    id: str
    key: str
    expected: int = 0
    left: int | None = None


class AblySocket:
    """Reads what a client sends, and writes what its channels have for it.

    Presence, annotations and objects are left out: an entrance is refused, the rest ignored.
    """

    def __init__(
        self,
        ably: "LocalAbly",
        socket: web.WebSocketResponse,
        session: Session,
        grant: Grant,
        *,
        form: wire.Format,
        echo: bool,
    ) -> None:
        self.session = session
        self._ably = ably
        self._socket = socket
        self._grant = grant
        self._form = form
        self._channels = Attachments(ably, session.id, form=form, echo=echo, send=self.send)
        self._outbox: asyncio.Queue[Frame] = asyncio.Queue(WAITING)
        self._actions = {
            Action.HEARTBEAT: self._beat,
            Action.CLOSE: self._close,
            Action.ATTACH: lambda frame: self._channels.attach(self._grant, frame),
            Action.DETACH: self._channels.detach,
            Action.MESSAGE: self._publish,
            Action.PRESENCE: self._refuse_presence,
            Action.AUTH: self._renew,
        }

    async def serve(self, lost: RefusedByAbly | None) -> None:
        """Serve the client until it leaves; `lost` says why it is not who it was before."""
        tasks = [asyncio.create_task(one) for one in (self._flush(), self._heart(), self._expiry())]
        self._welcome(lost)
        try:
            async for message in self._socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._take(wire.decode(message.data, self._form))
        finally:
            self.session.left = now()
            self._channels.leave_all()
            for task in tasks:
                task.cancel()

    def send(self, frame: Frame) -> None:
        """Send a frame; a client that takes none any more is cut."""
        try:
            self._outbox.put_nowait(frame)
        except asyncio.QueueFull:
            self.cut()

    def end(self, error: RefusedByAbly, action: Action = Action.DISCONNECTED) -> None:
        """End it as the service does: with the reason."""
        self.send({"action": action, "error": error.to_json()})

    def cut(self) -> None:
        """End it without a word."""
        request = self._socket._req
        if request is not None and request.transport is not None:
            request.transport.abort()

    async def _flush(self) -> None:
        with suppress(ConnectionError):
            while True:
                frame = await self._outbox.get()
                await wire.send(self._socket, frame, self._form)
                if _ends(frame):
                    await self._socket.close()

    async def _heart(self) -> None:
        while True:
            await asyncio.sleep(IDLE_MILLISECONDS / 2_000)
            self.send({"action": Action.HEARTBEAT})

    async def _expiry(self) -> None:
        """Ask for another token before this one expires; without one, the connection ends."""
        while (expires := self._grant.expires) is not None:
            grant = self._grant
            await asyncio.sleep(max(0.0, (expires - now()) / 1_000 - RENEWAL_SECONDS))
            if grant is self._grant:
                self.send({"action": Action.AUTH})
            await asyncio.sleep(max(0.0, (expires - now()) / 1_000))
            if grant is self._grant:
                self.end(RefusedByAbly(40142, 401, "Token expired"))
                break

    def _welcome(self, lost: RefusedByAbly | None = None) -> None:
        details = {
            "clientId": self._grant.client,
            "connectionKey": self.session.key,
            "maxMessageSize": MESSAGE_BYTES,
            "maxInboundRate": 50,
            "maxOutboundRate": 50,
            "maxFrameSize": 4 * MESSAGE_BYTES,
            "serverId": "local",
            "connectionStateTtl": STATE_MILLISECONDS,
            "maxIdleInterval": IDLE_MILLISECONDS,
        }
        about = {"connectionId": self.session.id, "connectionDetails": details}
        error = {"error": lost.to_json()} if lost else {}
        self.send({"action": Action.CONNECTED, **about, **error})

    def _take(self, frame: Frame) -> None:
        act = self._actions.get(frame.get("action", -1))
        if act is None:
            return  # the client of a later version says more than we need to understand
        try:
            act(frame)
        except RefusedByAbly as refused:
            where = {"channel": frame["channel"]} if frame.get("channel") is not None else {}
            self.send({"action": Action.ERROR, "error": refused.to_json(), **where})

    def _beat(self, frame: Frame) -> None:
        if frame.get("id"):
            self.send({"action": Action.HEARTBEAT, "id": frame["id"]})

    def _close(self, _: Frame) -> None:
        self._ably.forget(self.session)
        self.send({"action": Action.CLOSED})

    def _renew(self, frame: Frame) -> None:
        grant = self._ably.keys.by_token(str((frame.get("auth") or {}).get("accessToken")))
        if self._grant.client not in (None, grant.client):
            raise RefusedByAbly(40102, 401, "The new token is another client's")
        self._grant = grant
        self._welcome()
        self._channels.keep(grant)

    def _publish(self, frame: Frame) -> None:
        serial = int(frame.get("msgSerial") or 0)
        answer: Frame = {"msgSerial": serial, "count": 1}
        if serial < self.session.expected:  # sent again after a drop, and taken before
            return self.send({"action": Action.ACK, **answer})
        self.session.expected = serial + 1
        try:
            serials = self._store(str(frame.get("channel") or ""), frame.get("messages") or [])
        except RefusedByAbly as refused:
            return self.send({"action": Action.NACK, "error": refused.to_json(), **answer})
        return self.send({"action": Action.ACK, "res": [{"serials": serials}], **answer})

    def _store(self, channel: str, sent: list[Message]) -> list[str]:
        self._grant.require("publish", channel)
        messages = [wire.incoming(one) for one in sent]
        for message in messages:
            own(self._grant, message)
        return self._ably.channels.publish(channel, messages, self.session.id)

    def _refuse_presence(self, frame: Frame) -> None:
        error = RefusedByAbly(40000, 400, "This local Ably has no presence")
        answer = {"msgSerial": frame.get("msgSerial"), "count": 1}
        self.send({"action": Action.NACK, "error": error.to_json(), **answer})


def _ends(frame: Frame) -> bool:
    """Tell whether the connection ends with this frame."""
    fatal = frame["action"] == Action.ERROR and frame.get("channel") is None
    return fatal or frame["action"] in (Action.CLOSED, Action.DISCONNECTED)
