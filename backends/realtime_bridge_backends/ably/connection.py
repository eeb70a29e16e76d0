"""Connection of a Python client to Ably, through the official SDK."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from ably import AblyException, AblyRealtime, AblyRest

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
from realtime_bridge_backends.ably import logs
from realtime_bridge_backends.ably.members import key_of, to_member

MAX_QUEUED = 10_000
"""Messages that may wait for the client. Beyond it the connection closes, and the client recovers
from the log."""

CLOSE_SECONDS = 1.0

_CLOSED_STATES = ("disconnected", "suspended", "failed", "closed")
"""The SDK's states without a connection. The client's state machine decides about reconnecting,
so the SDK's own retries are not used."""

_FAILED_STATES = ("failed", "suspended")
"""States of a channel without its messages, while the connection goes on."""

_LEFT = 3
"""Ably's action of a member who left."""

_CAPABILITY_MISSING = 40160
_FORBIDDEN = 403


class AblyConnection(ProviderConnection):
    """Connection with a token for its channels alone.

    Args:
        options: the descriptor's options: Ably's address, and the prefix of channel names there.
        channels: the channels that the client will subscribe to at first.
        authorize: asks our bridge for tokens.

    """

    def __init__(
        self, options: Mapping[str, Any], channels: Sequence[str], authorize: Authorize
    ) -> None:
        self._options = options
        self._names = [self._name(channel) for channel in channels]
        self._authorize = authorize
        self._denied: AccessDeniedError | None = None
        self._uncovered: set[str] = set()
        """Names of the channels that the bridge denied."""
        self._failed: set[str] = set()
        """Names of the channels whose rule failed: the token does not cover them for now."""
        self._frames: asyncio.Queue[ProviderItem | None] = asyncio.Queue(MAX_QUEUED)
        self._client: AblyRealtime | None = None
        logs.install_filters()

    async def __aenter__(self) -> Self:
        self._client = self._create_client()
        try:
            await self._connect(self._client)
        except BaseException:
            await self._close()
            raise
        for state in _CLOSED_STATES:
            self._client.connection.on(state, lambda _: self._end())
        # The SDK reports no change of its state after DISCONNECTED with a status of 500 to 504, or
        # without an error: it has no fallback host to try, and only stops to read.
        transport = self._client.connection.connection_manager.transport
        if transport and transport.read_loop:
            transport.read_loop.add_done_callback(lambda _: self._end())
        return self

    async def _connect(self, client: AblyRealtime) -> None:
        connected: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        for state in ("connected", *_CLOSED_STATES):
            client.connection.on(state, lambda change: _settle(connected, change))
        client.connect()
        if not await connected:
            raise self._denied or ConnectionLostError("Ably cannot be reached")

    def _create_client(self) -> AblyRealtime:
        host, port = str(self._options["endpoint"]), self._options.get("port")
        return AblyRealtime(
            auth_callback=self._request_token,
            # The SDK's realtime client ignores its port options: the port goes into the name.
            endpoint=f"{host}:{port}" if port else host,
            tls=bool(self._options["tls"]),
            # With fallback hosts, the SDK first makes a blocking call to check the network.
            fallback_hosts=[],
            auto_connect=False,
            queue_messages=False,
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.connection.off()
            # Whatever the SDK raises: the connection is over.
            with suppress(Exception):
                await asyncio.wait_for(client.close(), CLOSE_SECONDS)

    async def subscribe(self, channel: str) -> None:
        """Attach to a channel."""
        client = self._open_client()
        ably_channel = client.channels.get(self._name(channel))
        if self._name(channel) not in {*self._names, *self._uncovered}:
            await self._cover(client, self._name(channel))
        # A channel that failed is attached again.
        ably_channel.unsubscribe()
        ably_channel.off()
        try:
            if channel.startswith(PRESENCE):
                await self._enter(channel, ably_channel.presence)
            else:
                await ably_channel.subscribe(self._receive)
        except AblyException as error:
            message = f"Ably did not attach {channel}: {logs.redact_tokens(str(error))}"
            if error.code == _CAPABILITY_MISSING and self._name(channel) not in self._failed:
                raise AccessDeniedError(
                    _FORBIDDEN, f"{channel}: this user may not subscribe to it"
                ) from error
            # Without the cause: its message may hold a token.
            if client.connection.state == "connected":
                raise ChannelFailedError(channel, message) from None
            raise ConnectionLostError(message) from None
        except Exception as error:
            # The SDK raises errors of its WebSocket library where the socket has just closed.
            raise ConnectionLostError(f"Ably did not attach {channel} ({error!r})") from None
        for state in _FAILED_STATES:
            ably_channel.on(state, lambda change: self._fail(channel, change.reason))

    async def _enter(self, channel: str, presence: Any) -> None:
        """Make the user present, and report the members from now on."""
        presence.unsubscribe()
        await presence.subscribe(lambda message: self._on_presence(channel, message))
        await presence.enter()
        members = await presence.get()
        self._put(Members(channel, [to_member(message) for message in members]))

    def _on_presence(self, channel: str, message: Any) -> None:
        member = None if message.action == _LEFT else to_member(message)
        self._put(MemberChange(channel, key_of(message), member))

    async def _cover(self, client: AblyRealtime, name: str) -> None:
        """Replace the token by one for another channel too."""
        self._names.append(name)
        try:
            await client.auth.authorize()
        except Exception as error:
            # Without the cause: its message may hold a token.
            raise ConnectionLostError(f"Ably took no token ({type(error).__name__})") from None

    async def unsubscribe(self, channel: str) -> None:
        """Detach from a channel."""
        with suppress(ValueError):
            self._names.remove(self._name(channel))
        if self._client is None:
            return
        ably_channel = self._client.channels.get(self._name(channel))
        ably_channel.unsubscribe()
        ably_channel.presence.unsubscribe()
        ably_channel.off()
        with suppress(Exception):
            # The user leaves with the channel.
            await asyncio.wait_for(ably_channel.detach(), CLOSE_SECONDS)

    async def ping(self) -> None:
        """Wait for Ably's answer to a heartbeat."""
        try:
            await self._open_client().connection.ping()
        except ConnectionLostError:
            raise
        except Exception as error:
            # Without the cause: its message may hold a token.
            raise ConnectionLostError(
                f"Ably did not answer: {logs.redact_tokens(str(error))}"
            ) from None

    async def __aiter__(self) -> AsyncIterator[ProviderItem]:
        while (frame := await self._frames.get()) is not None:
            yield frame

    async def _request_token(self, _: Any) -> Mapping[str, Any]:
        try:
            answer = await self._authorize({"channels": " ".join(self._names)})
        except AccessDeniedError as denied:
            self._denied = denied  # the SDK replaces it with an error of its own
            raise
        self._failed = set(answer.get("failed") or ())
        # A token has a limited number of channels: the next one is not requested for these.
        granted = json.loads(answer["capability"]).keys() | self._failed
        self._uncovered |= set(self._names) - granted
        self._names = [name for name in self._names if name in granted]
        return answer if "token" in answer else await self._exchange(answer)

    async def _exchange(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the token for a token request."""

        async def give_request(_: Any) -> Mapping[str, Any]:
            return request

        # Not by the realtime client: its requests have the port in the name of the host.
        host, port, tls = (self._options.get(name) for name in ("endpoint", "port", "tls"))
        address = {"tls_port" if tls else "port": port} if port else {}
        async with AblyRest(
            auth_callback=give_request, endpoint=str(host), tls=bool(tls), **address
        ) as rest:
            details = await rest.auth.request_token()
        answer: Mapping[str, Any] = details.to_dict()
        return answer

    def _open_client(self) -> AblyRealtime:
        if self._client is None:
            raise ConnectionLostError("the connection to Ably is closed")
        return self._client

    def _receive(self, message: Any) -> None:
        self._put(str(message.data))

    def _fail(self, channel: str, reason: Any) -> None:
        words = logs.redact_tokens(str(reason)) if reason else "no reason given"
        self._put(ChannelFailedError(channel, f"Ably ended {channel}: {words}"))

    def _put(self, frame: ProviderItem) -> None:
        try:
            self._frames.put_nowait(frame)
        except asyncio.QueueFull:
            self._end()

    def _end(self) -> None:
        while self._frames.full():  # make room for the end marker
            self._frames.get_nowait()
        self._frames.put_nowait(None)

    def _name(self, channel: str) -> str:
        return f"{self._options['channel_prefix']}{channel}"


def _settle(connected: "asyncio.Future[bool]", change: Any) -> None:
    if not connected.done():
        connected.set_result(change.current == "connected")
