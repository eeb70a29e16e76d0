"""Events by a WebSocket: subscribe with positions, recover by subscribing again."""

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from realtime_bridge.client.stream import DeniedError, Stream, Unavailable
from realtime_bridge.event import Position
from realtime_bridge.protocol import frames, session
from realtime_bridge.protocol.frames import ProtocolError
from realtime_bridge.settings import is_loopback

OPEN_SECONDS = 8.0
PROBE_SECONDS = 5.0
"""How long a fresh connection has to say `welcome`, and to answer all subscriptions."""

SILENCE_SECONDS = 5.0
"""How much longer than a heartbeat's interval silence may last."""

PING_SECONDS = 3.0
CLOSE_SECONDS = 1.0
"""How long a server is given to answer our farewell."""

MAX_FRAME_BYTES = 16 * 1024 * 1024
FINAL = {session.PROTOCOL, session.FORBIDDEN, session.TOO_MANY, 4410}
"""Close codes after which the same client would be refused again."""

_logger = logging.getLogger("realtime_bridge.client")


class WebSocketTransport:
    """One connection at a time to the bridge at `url`."""

    def __init__(self, url: str, stream: Stream) -> None:
        self._url = f"{url.replace('http', 'ws', 1)}/ws"
        self._stream = stream
        self._heartbeat = session.HEARTBEAT_SECONDS
        self._unanswered: set[str] = set()
        self._asked: set[str] = set()
        self._turned_away = False

    async def run(self, on_live: Callable[[], None]) -> None:
        """Connect, call `on_live` when all subscriptions are answered, and serve until it ends.

        Raises:
            Unavailable: it could not be opened, or it was lost.
            DeniedError: the server refuses us for good.

        """
        try:
            async with connect(
                self._url,
                subprotocols=[frames.SUBPROTOCOL],  # type: ignore[list-item]  # a NewType of str
                open_timeout=OPEN_SECONDS,
                max_size=MAX_FRAME_BYTES,
                compression=None,
                ping_interval=None,
                close_timeout=CLOSE_SECONDS,
                proxy=None if is_loopback(urlsplit(self._url).hostname or "") else True,
            ) as socket:
                await self._serve(socket, on_live)
        except ConnectionClosed as error:
            raise self._lost(error) from error
        except (OSError, InvalidHandshake, TimeoutError, ProtocolError, KeyError) as error:
            raise Unavailable(f"the WebSocket failed: {error!r}") from error
        finally:
            self._stream.interrupted()

    async def _serve(self, socket: ClientConnection, on_live: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._introduce(socket)
                while self._unanswered:
                    await self._take(socket, await socket.recv())
            on_live()
            while True:
                await self._take(socket, await self._next(socket))
        except TimeoutError:
            socket.transport.abort()
            raise

    async def _introduce(self, socket: ClientConnection) -> None:
        nonce = uuid.uuid4().hex
        token = await self._stream.token()
        await _send(socket, "connect", token=token, nonce=nonce, version=frames.VERSION)
        welcome = frames.decode_object(await socket.recv())
        if welcome.get("type") == "error":
            await socket.recv()
        if welcome.get("type") != "welcome" or welcome.get("nonce") != nonce:
            raise ProtocolError("this is not the bridge: no welcome with our nonce")
        self._turned_away = False
        self._heartbeat = float(welcome.get("heartbeat", session.HEARTBEAT_SECONDS))
        self._unanswered, self._asked = set(self._stream.channels), set()
        for channel, position in self._stream.positions.items():
            await self._subscribe(socket, channel, position)

    async def _next(self, socket: ClientConnection) -> str | bytes:
        """Return the next frame; after silence, ask whether anybody is there."""
        try:
            async with asyncio.timeout(self._heartbeat + SILENCE_SECONDS):
                return await socket.recv()
        except TimeoutError:
            await _send(socket, "ping", nonce=uuid.uuid4().hex)
            async with asyncio.timeout(PING_SECONDS):
                return await socket.recv()

    async def _take(self, socket: ClientConnection, text: str | bytes) -> None:
        fields = frames.decode_object(text)
        handle = getattr(self, f"_on_{fields.get('type')}", None)
        if handle is not None:
            await handle(socket, fields)

    async def _on_event(self, socket: ClientConnection, fields: dict[str, Any]) -> None:
        for recovery in await self._stream.event(fields):
            await self._subscribe(socket, fields["channel"], recovery.after)

    async def _on_subscribed(self, socket: ClientConnection, fields: dict[str, Any]) -> None:
        channel = fields["channel"]
        self._unanswered.discard(channel)
        self._asked.discard(channel)
        for recovery in await self._stream.page(channel, fields):
            await self._subscribe(socket, channel, recovery.after)

    async def _on_reset(self, socket: ClientConnection, fields: dict[str, Any]) -> None:
        channel, top = fields["channel"], frames.decode_position(fields)
        for recovery in await self._stream.reset(channel, fields["reason"], top):
            await self._subscribe(socket, channel, recovery.after)

    async def _on_heartbeat(self, socket: ClientConnection, fields: dict[str, Any]) -> None:
        for channel, offset in fields.get("offsets", {}).items():
            for recovery in await self._stream.announced(channel, offset):
                await self._subscribe(socket, channel, recovery.after)

    async def _on_refused(self, _: ClientConnection, fields: dict[str, Any]) -> None:
        final = fields.get("code") in (400, 403)
        problem = DeniedError if final else Unavailable
        raise problem(f"{fields.get('channel')}: {fields.get('message')}")

    async def _on_error(self, _: ClientConnection, fields: dict[str, Any]) -> None:
        _logger.warning("the server says: %s (%s)", fields.get("message"), fields.get("code"))

    async def _subscribe(
        self, socket: ClientConnection, channel: str, position: Position | None
    ) -> None:
        """Ask for the channel, unless we wait for it: that answer will show what is missing."""
        if channel not in self._asked:
            self._asked.add(channel)
            where = position.to_json() if position else None
            await _send(socket, "subscribe", channel=channel, position=where)

    def _lost(self, error: ConnectionClosed) -> Exception:
        code = error.rcvd.code if error.rcvd else 1006
        reason = error.rcvd.reason if error.rcvd else "the connection was lost"
        again = code == session.TOKEN and self._stream.renewable and not self._turned_away
        self._turned_away = code == session.TOKEN
        if code in FINAL or (code == session.TOKEN and not again):
            return DeniedError(f"the server closed with {code}: {reason}")
        return Unavailable(f"closed with {code}: {reason}")


async def _send(socket: ClientConnection, kind: str, **fields: Any) -> None:
    await socket.send(frames.encode(kind, **fields).decode())
