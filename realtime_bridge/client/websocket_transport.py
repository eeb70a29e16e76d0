"""One WebSocket to the bridge: frames in and out; when to open or end it is decided elsewhere."""

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from realtime_bridge.client.subscription_set import DeniedError, SubscriptionSet
from realtime_bridge.model.position import Position
from realtime_bridge.model.urls import is_loopback
from realtime_bridge.protocol.wire import messages
from realtime_bridge.protocol.wire.messages import ProtocolError

CLOSE_SECONDS = 1.0
"""How long a server is given to answer our farewell."""

MAX_FRAME_BYTES = 16 * 1024 * 1024
ABNORMAL = 1006
"""The code for an end without a close frame (RFC 6455 §7.4.1)."""

_logger = logging.getLogger("realtime_bridge.client")

Tell = Callable[..., None]


class WebSocketTransport:
    """One connection.

    Args:
        url: of the bridge's `ws`.
        stream: where what arrives goes.
        tell: takes the name of a machine's input, and its arguments but for the socket's number.

    """

    def __init__(self, url: str, stream: SubscriptionSet, tell: Tell) -> None:
        self._url = url.replace("http", "ws", 1)
        self._stream = stream
        self._tell = tell
        self._connection: ClientConnection | None = None
        self._nonce = uuid.uuid4().hex
        self._unanswered: set[str] = set()
        self._asked: dict[str, Position | None] = {}
        self._probe: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def probe(self, token: str) -> None:
        """Say who we are, once it is open."""
        if not self._probe.done():
            self._probe.set_result(token)

    async def run(self) -> int:
        """Serve until it ends, and return the code it ended with.

        Raises:
            DeniedError: a channel is refused for good.

        """
        try:
            async with self._connect() as self._connection:
                self._tell("opened")
                await self._introduce(await self._probe)
                while True:
                    await self._take(await self._connection.recv())
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd else ABNORMAL
        except (OSError, InvalidHandshake, TimeoutError, ProtocolError, KeyError) as error:
            _logger.info("the WebSocket failed: %r", error)
            return ABNORMAL

    async def send(self, kind: str, **fields: Any) -> None:
        """Send a frame, if anybody is there to get it."""
        if self._connection:
            await self._connection.send(messages.encode(kind, **fields).decode())

    def abort(self) -> None:
        """End it without waiting for the other side, who may be long gone."""
        if self._connection:
            self._connection.transport.abort()

    def _connect(self) -> connect:
        return connect(
            self._url,
            subprotocols=[messages.SUBPROTOCOL],  # type: ignore[list-item]  # a NewType of str
            max_size=MAX_FRAME_BYTES,
            compression=None,
            ping_interval=None,
            close_timeout=CLOSE_SECONDS,
            proxy=None if is_loopback(urlsplit(self._url).hostname or "") else True,
        )

    async def _introduce(self, token: str) -> None:
        await self.send("connect", token=token, nonce=self._nonce, version=messages.VERSION)

    async def _take(self, text: str | bytes) -> None:
        self._tell("frame")
        fields = messages.decode_object(text)
        handle = getattr(self, f"_on_{fields.get('type')}", None)
        if handle is not None:
            await handle(fields)

    async def _on_welcome(self, fields: dict[str, Any]) -> None:
        if fields.get("nonce") != self._nonce:
            raise ProtocolError("this is not the bridge: no welcome with our nonce")
        self._unanswered = set(self._stream.channels)
        for channel, position in self._stream.positions.items():
            await self._subscribe(channel, position)

    async def _on_event(self, fields: dict[str, Any]) -> None:
        self._tell("event_received")
        await self._recover(fields["channel"], await self._stream.event(fields))

    async def _on_subscribed(self, fields: dict[str, Any]) -> None:
        channel = fields["channel"]
        self._asked.pop(channel, None)
        self._answered(channel)
        await self._recover(channel, await self._stream.page(channel, fields))

    async def _on_reset(self, fields: dict[str, Any]) -> None:
        channel, top = fields["channel"], messages.decode_position(fields)
        asked = self._asked.get(channel)
        recoveries = await self._stream.reset(channel, fields["reason"], top, asked=asked)
        await self._recover(channel, recoveries)

    async def _on_heartbeat(self, fields: dict[str, Any]) -> None:
        self._tell("generation", fields.get("generation", 0))
        for channel, offset in fields.get("offsets", {}).items():
            await self._recover(channel, await self._stream.announced(channel, offset))

    async def _on_status(self, fields: dict[str, Any]) -> None:
        self._tell("status", ok=fields.get("log") == fields.get("backend") == "ok")

    async def _on_drain(self, fields: dict[str, Any]) -> None:
        self._tell("drain", round(fields["after"] * 1_000), round(fields["window"] * 1_000))

    async def _on_refused(self, fields: dict[str, Any]) -> None:
        if fields.get("code") in (400, 403):
            raise DeniedError(f"{fields.get('channel')}: {fields.get('message')}")
        raise ProtocolError(f"{fields.get('channel')}: {fields.get('message')}")

    async def _on_error(self, fields: dict[str, Any]) -> None:
        _logger.warning("the server says: %s (%s)", fields.get("message"), fields.get("code"))

    def _answered(self, channel: str) -> None:
        if channel in self._unanswered:
            self._unanswered.remove(channel)
            if not self._unanswered:
                self._tell("ready")

    async def _recover(self, channel: str, recoveries: list[Any]) -> None:
        for recovery in recoveries:
            await self._subscribe(channel, recovery.after)

    async def _subscribe(self, channel: str, position: Position | None) -> None:
        """Ask for the channel, unless we wait for it: that answer will show what is missing."""
        if channel not in self._asked:
            self._asked[channel] = position
            where = position.to_json() if position else None
            await self.send("subscribe", channel=channel, position=where)
