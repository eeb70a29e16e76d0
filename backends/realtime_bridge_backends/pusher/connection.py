"""Connection of a Python client to Pusher, by the WebSocket protocol in version 7."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from realtime_bridge.backend.provider_connection import (
    AccessDeniedError,
    Authorize,
    ChannelFailedError,
    ConnectionLostError,
    MemberChange,
    Members,
    ProviderConnection,
    ProviderItem,
)
from realtime_bridge.model.channel import PRESENCE
from realtime_bridge.model.urls import is_loopback
from realtime_bridge.protocol.publishing.chunks import chunked
from realtime_bridge_backends.pusher.frames import (
    check_error,
    decode,
    member_of,
    members_of,
    refusal_of,
)
from realtime_bridge_backends.pusher.names import DEFAULT_CLUSTER, EVENT_NAME

CHANNELS_PER_REQUEST = 100
"""Channels of one request for permissions; the server accepts 200."""

MAX_MESSAGE_BYTES = 1024 * 1024
"""Longest message; events at Pusher have up to 10 KiB, a list of 100 members more."""

MAX_QUEUED = 10_000
"""Messages that may wait for the client. Beyond it the connection closes, and the client recovers
from the log."""

ANSWER_SECONDS = 10.0
"""Time limit of Pusher's answers."""

CLOSE_SECONDS = 1.0

_FORBIDDEN = 403

_logger = logging.getLogger("realtime_bridge.client")

_Permission = Mapping[str, Any] | AccessDeniedError | ChannelFailedError


class PusherConnection(ProviderConnection):
    """Connection with a signature for each of its channels.

    Args:
        options: the descriptor's options: Pusher's address, and the prefix of channel names there.
        channels: the channels that the client will subscribe to at first.
        authorize: asks our bridge for signatures.

    """

    def __init__(
        self, options: Mapping[str, Any], channels: Sequence[str], authorize: Authorize
    ) -> None:
        self._options = options
        self._authorize = authorize
        self._connection: ClientConnection | None = None
        self._socket_id = ""
        self._channels = {self._name(channel): channel for channel in channels}
        """Channels by their names at Pusher."""
        self._permissions: dict[str, _Permission] = {}
        """Answers of the bridge that no subscription has used yet, by names at Pusher."""
        self._signed_in = False
        self._subscribed: set[str] = set()
        self._answers: dict[str, asyncio.Future[None]] = {}
        """Subscriptions that wait for Pusher, by names there."""
        self._pong: asyncio.Future[None] | None = None
        self._items: asyncio.Queue[ProviderItem | None] = asyncio.Queue(MAX_QUEUED)
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                self._connection = await self._connect()
                self._socket_id = await self._read_socket_id(self._connection)
            self._reading = asyncio.create_task(self._read(self._connection))
            await self._request_permissions(list(self._channels))
        except (OSError, InvalidHandshake, ConnectionClosed) as error:  # a TimeoutError is one
            await self._close()
            raise ConnectionLostError(f"Pusher cannot be reached ({error!r})") from error
        except BaseException:
            await self._close()
            raise
        return self

    def _connect(self) -> connect:
        options = self._options
        # The same host as that of pusher-js.
        pusher = f"ws-{options.get('cluster') or DEFAULT_CLUSTER}.pusher.com"
        host, port = str(options.get("host") or pusher), options.get("port") or 443
        scheme = "wss" if options.get("tls", True) else "ws"
        return connect(
            f"{scheme}://{host}:{port}/app/{quote(options['key'])}?protocol=7",
            max_size=MAX_MESSAGE_BYTES,
            compression=None,
            # The client pings by the protocol.
            ping_interval=None,
            open_timeout=None,
            close_timeout=CLOSE_SECONDS,
            proxy=None if is_loopback(host) else True,
        )

    async def _read_socket_id(self, connection: ClientConnection) -> str:
        frame = decode(await connection.recv())
        data = decode(frame.get("data"))
        if "socket_id" not in data:
            raise ConnectionLostError(f"Pusher refuses: {data.get('message')} ({data.get('code')})")
        return str(data["socket_id"])

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
        if self._reading is not None:
            await self._reading  # it has ended with the connection

    async def _request_permissions(self, names: Sequence[str]) -> None:
        for some in chunked(names, CHANNELS_PER_REQUEST):
            answer = await self._authorize(
                {"socket_id": self._socket_id, "channel_names": " ".join(some)}
            )
            for name in some:
                self._permissions[name] = self._permission(name, answer)
            if not self._signed_in:
                # A connection that is signed in ends at once when the user's access is revoked.
                self._signed_in = True
                await self._send("pusher:signin", answer["user"])

    def _permission(self, name: str, answer: Mapping[str, Any]) -> _Permission:
        channel = self._channels[name]
        if permission := answer["channels"].get(name):
            signed: Mapping[str, Any] = permission
            return signed
        if name in answer["failed"]:
            return ChannelFailedError(channel, f"the rule of {channel} failed")
        return AccessDeniedError(_FORBIDDEN, f"{channel}: this user may not subscribe to it")

    async def subscribe(self, channel: str) -> None:
        """Subscribe to a channel; again, if it is subscribed: its members come again."""
        name = self._name(channel)
        self._channels[name] = channel
        if name in self._subscribed:
            await self.unsubscribe(channel)
        if name not in self._permissions:
            await self._request_permissions([name])
        permission = self._permissions.pop(name)
        if isinstance(permission, Exception):
            raise permission
        self._subscribed.add(name)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._request_subscription(name, permission)
        except TimeoutError:
            await self.unsubscribe(channel)
            raise ChannelFailedError(channel, "Pusher does not answer") from None
        except BaseException:
            self._subscribed.discard(name)
            raise

    async def _request_subscription(self, name: str, permission: Mapping[str, Any]) -> None:
        answer = self._answers[name] = asyncio.get_running_loop().create_future()
        try:
            await self._send("pusher:subscribe", {"channel": name, **permission})
            await answer
        finally:
            self._answers.pop(name, None)

    async def unsubscribe(self, channel: str) -> None:
        """Unsubscribe from a channel."""
        name = self._name(channel)
        if name in self._subscribed:
            self._subscribed.discard(name)
            with suppress(ConnectionLostError):
                await self._send("pusher:unsubscribe", {"channel": name})

    async def ping(self) -> None:
        """Wait for Pusher's answer to a ping."""
        if self._pong is None or self._pong.done():
            self._pong = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._send("pusher:ping", {})
                await asyncio.shield(self._pong)  # of several pings
        except TimeoutError:
            raise ConnectionLostError("Pusher did not answer") from None

    async def __aiter__(self) -> AsyncIterator[ProviderItem]:
        while (item := await self._items.get()) is not None:
            yield item

    async def _read(self, connection: ClientConnection) -> None:
        """Read all messages; whatever the error, its end is that of the connection."""
        reason: object = "closed"
        try:
            async for text in connection:
                frame = decode(text)
                if frame.get("event") == "pusher:ping":
                    await self._send("pusher:pong", {})
                elif (item := self._handle(frame)) is not None:
                    self._items.put_nowait(item)
        except Exception as error:
            reason = error
        _logger.info("connection to Pusher ended: reason=%r", reason)
        connection.transport.abort()
        self._end()

    def _end(self) -> None:
        for name in list(self._answers):
            self._answer(name, ConnectionLostError("Pusher ended the connection"))
        while self._items.full():  # make room for the end marker
            self._items.get_nowait()
        self._items.put_nowait(None)

    def _handle(self, frame: Mapping[str, Any]) -> ProviderItem | None:
        """Follow a message, and return what the client gets."""
        name, data = str(frame.get("channel")), frame.get("data")
        match frame.get("event"):
            case "pusher:pong":
                if self._pong and not self._pong.done():
                    self._pong.set_result(None)
            case "pusher:error":
                check_error(decode(data))
            case str(event) if name in self._subscribed:
                return self._handle_event(event, name, data)
        return None

    def _handle_event(self, event: str, name: str, data: object) -> ProviderItem | None:
        channel = self._channels[name]
        if event == EVENT_NAME:
            return str(data)
        fields = decode(data)
        match event:
            case "pusher_internal:subscription_succeeded":
                self._answer(name, None)
                if channel.startswith(PRESENCE):
                    return Members(channel, members_of(fields))
            case "pusher:subscription_error":
                self._answer(name, refusal_of(channel, fields))
            case "pusher_internal:member_added":
                member = member_of(fields.get("user_id"), fields.get("user_info"))
                return MemberChange(channel, member.key, member)
            case "pusher_internal:member_removed":
                return MemberChange(channel, str(fields.get("user_id")), None)
        return None

    def _answer(self, name: str, error: Exception | None) -> None:
        answer = self._answers.get(name)
        if answer is None or answer.done():
            return
        if error:
            answer.set_exception(error)
        else:
            answer.set_result(None)

    async def _send(self, event: str, data: Mapping[str, Any]) -> None:
        if self._connection is None:
            raise ConnectionLostError("the connection to Pusher is closed")
        try:
            await self._connection.send(orjson.dumps({"event": event, "data": data}).decode())
        except ConnectionClosed as error:
            raise ConnectionLostError(f"Pusher ended the connection ({error})") from error

    def _name(self, channel: str) -> str:
        """Return the name at Pusher: members of a channel are those of a channel beside it."""
        prefix = str(self._options["channel_prefix"])
        if not channel.startswith(PRESENCE):
            return f"{prefix}{channel}"
        return f"{prefix.replace('private-', 'presence-', 1)}{channel.removeprefix(PRESENCE)}"
