"""Connection to a hosted provider, shaped like a connection to the bridge."""

import asyncio
import logging
import random
from collections.abc import Collection, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from realtime_bridge.backend.provider_connection import (
    AccessDeniedError,
    ChannelFailedError,
    ConnectionLostError,
    MemberChange,
    Members,
)
from realtime_bridge.client.bridge_http import OK
from realtime_bridge.client.descriptor import RouteMissingError, TokenUnavailableError
from realtime_bridge.client.log_fetcher import LogFetcher
from realtime_bridge.client.position_checker import PositionChecker, UndeliveredError
from realtime_bridge.client.provider_backend import listenable_backend
from realtime_bridge.client.provider_members import ProviderMembers
from realtime_bridge.client.transport import (
    Handle,
    Message,
    TransportHandlers,
    TransportTools,
    log_connection_failure,
)
from realtime_bridge.model.channel import PRESENCE
from realtime_bridge.protocol.client.credentials import DENIAL
from realtime_bridge.protocol.wire import messages
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.protocol.wire.messages import ProtocolError

UNAUTHORIZED, FORBIDDEN, UNAVAILABLE = 401, 403, 503

REVOKED = "@realtime.revoked"
"""Name of the events by which the bridge announces a revocation: ask it for this client's access.
"""

_logger = logging.getLogger("realtime_bridge.client")


class HostedTransport:
    """Connection to a provider: it delivers the events, and the log has those it lost.

    Args:
        tools: Parts of the client; the last descriptor names the provider.
        handlers: Receiver of the messages.

    """

    def __init__(self, tools: TransportTools, handlers: TransportHandlers) -> None:
        descriptor = tools.descriptors.last
        assert descriptor, "a descriptor comes before a transport"
        backend = listenable_backend(descriptor.provider)
        assert backend, "the manager chooses this transport for a listenable backend"
        self._control = descriptor.control
        carried = tools.channels.first_positions(descriptor.channel_limit)
        names = [*carried, *filter(None, [self._control])]
        self._provider = backend.create_connection(descriptor.options, names, self._authorize)
        self._tools = tools
        self._handlers = handlers
        self._logged = descriptor.logged
        self._running: asyncio.Task[None] | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._received_at = 0.0
        """Time of the provider's last sign of life."""
        self._attaching: set[str] = set()
        self._unanswered: dict[str, Handle] = {}
        """Time limits of the subscriptions that the provider has not answered."""
        self._attached: set[str] = set()
        self._urgent: set[str] = set()
        """Channels of which the log has more for sure: no late event will fill the gap."""
        self._members = ProviderMembers(handlers.receive)
        self._fetcher = LogFetcher(tools, receive=self._on_fetched, failed=self._on_fetch_failed)
        self._checker = PositionChecker(
            tools, channels=self._attached, receive=self._handlers.receive
        )

    async def run(self) -> None:
        """Connect and receive until the connection ends."""
        self._running = asyncio.current_task()
        code: int = CloseCode.ABNORMAL
        reason = ""
        try:
            await self._run()
        except BaseExceptionGroup as group:
            code, reason = _close_code(group.exceptions[0]), str(group.exceptions[0])
        except Exception as error:
            code, reason = _close_code(error), str(error)
        self._handlers.closed(code, reason)

    def send(self, message: Message) -> None:
        """Translate a message into the provider's terms."""
        kind = message["type"]
        if kind in ("connect", "token"):
            # The provider's authorization requests read the token of their moment.
            welcome = {"type": "welcome", "nonce": message["nonce"]}
            asyncio.get_running_loop().call_soon(self._handlers.receive, welcome)
        elif kind == "subscribe":
            self._subscribe(message["channel"])
        elif kind == "ping":
            self._spawn(self._ping())

    def close(self) -> None:
        """End the connection: `run` closes it on its way out."""
        if self._running:
            self._running.cancel()

    async def _run(self) -> None:
        try:
            async with self._provider, asyncio.TaskGroup() as self._tasks:
                # A poll may bring a denial too, and the provider knows of none.
                with self._tools.channels.watch_denials(self._leave):
                    await self._serve(self._tasks)
        except AccessDeniedError as error:
            if error.status == FORBIDDEN:
                # The provider's token covers all channels, and the bridge denied that token.
                for channel in self._tools.channels.names:
                    self._tools.channels.deny(channel, str(error))
            raise

    async def _serve(self, tasks: asyncio.TaskGroup) -> None:
        self._received_at = asyncio.get_running_loop().time()
        self._handlers.opened()
        tasks.create_task(self._watch_silence())
        if self._control:
            tasks.create_task(self._follow_control(self._control))
        if self._logged:
            tasks.create_task(self._fetcher.run())
            tasks.create_task(self._checker.run())
        async for item in self._provider:
            if isinstance(item, str):
                self._on_text(item)
            elif isinstance(item, ChannelFailedError):
                self._refuse(item.channel, UNAVAILABLE, str(item))
            else:
                self._on_members(item)
        raise ConnectionLostError("the provider's connection ended")

    async def _follow_control(self, channel: str) -> None:
        # Position checks notice a revocation too, but later.
        with suppress(AccessDeniedError, ChannelFailedError):
            await self._provider.subscribe(channel)

    def _subscribe(self, channel: str) -> None:
        """Attach a channel at first; later, request what is missing from the log."""
        timing = self._tools.timing
        if channel not in self._attached or channel.startswith(PRESENCE):
            self._settle(channel)
            self._unanswered[channel] = self._tools.call_later(
                timing.provider_answer / 1_000,
                lambda: self._refuse(channel, UNAVAILABLE, "the provider does not answer"),
            )
            if channel not in self._attaching:
                self._attaching.add(channel)
                self._spawn(self._attach(channel))
        elif channel in self._urgent:
            self._urgent.discard(channel)
            self._fetcher.request(channel)
        else:
            # Providers reorder events: the missing one may arrive by itself.
            wait = timing.reorder_allowance * random.uniform(1, 1.5)  # noqa: S311 -- it spreads
            self._tools.call_later(wait / 1_000, lambda: self._fetcher.request(channel))

    async def _attach(self, channel: str) -> None:
        try:
            await self._provider.subscribe(channel)
        except AccessDeniedError as error:
            if error.status == UNAUTHORIZED:
                raise
            self._refuse(channel, error.status, str(error))
            return
        except ChannelFailedError as error:
            self._refuse(channel, UNAVAILABLE, str(error))
            return
        finally:
            self._attaching.discard(channel)
        if channel.startswith(PRESENCE):
            return  # its members are the answer
        self._settle(channel)
        self._attached.add(channel)
        if not self._tools.channels.has(channel):  # denied by a poll meanwhile
            self._leave(channel)
            return
        if self._logged:
            # An answer from before the subscription would lack events that were not pushed yet.
            wait = self._tools.timing.fetch_after_subscribing / 1_000
            self._tools.call_later(wait, lambda: self._fetcher.request(channel))
        else:
            # Without a log, the events before this moment are lost.
            self._handlers.receive({"type": "reset", "channel": channel, "reason": "signal"})
            self._handlers.receive({"type": "subscribed", "channel": channel})

    def _settle(self, channel: str) -> None:
        """End the time limit of the provider's answer."""
        if handle := self._unanswered.pop(channel, None):
            handle.cancel()

    def _leave(self, channel: str) -> None:
        """Detach a denied channel."""
        self._settle(channel)
        self._members.forget(channel)
        if channel in self._attached:
            self._attached.discard(channel)
            self._spawn(self._provider.unsubscribe(channel))

    def _refuse(self, channel: str, status: int, reason: str) -> None:
        """Report a channel that the provider does not push: for good, or until the next attempt."""
        self._settle(channel)
        self._attached.discard(channel)
        self._members.forget(channel)
        message = {"type": "refused", "channel": channel, "code": status, "message": reason}
        asyncio.get_running_loop().call_soon(self._handlers.receive, message)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._tasks:
            self._tasks.create_task(work)
        else:
            work.close()

    def _on_members(self, item: Members | MemberChange) -> None:
        self._received_at = asyncio.get_running_loop().time()
        if isinstance(item, Members):
            self._settle(item.channel)
            self._attached.add(item.channel)
            self._members.load(item)
        else:
            self._members.change(item)

    def _on_text(self, text: str) -> None:
        self._received_at = asyncio.get_running_loop().time()
        message = messages.decode_object(text)
        kind = message.get("type")
        if kind not in ("event", "stub"):
            return
        if message.get("event") == REVOKED:
            self._spawn(self._checker.check_access())
            return
        self._checker.pushed()
        if kind == "stub":
            self._urgent.add(str(message.get("channel")))
        self._handlers.receive(message)

    def _on_fetched(self, message: Message) -> None:
        if message.get("more"):
            self._urgent.add(str(message["channel"]))
        self._handlers.receive(message)

    def _on_fetch_failed(self, channels: Collection[str], status: int | None) -> None:
        if status in DENIAL:
            raise AccessDeniedError(UNAUTHORIZED, f"a request to the log was answered {status}")
        for channel in channels:
            self._refuse(channel, UNAVAILABLE, "the log does not answer")

    async def _watch_silence(self) -> None:
        """Ping the provider after each period without a sign of life."""
        now, seconds = asyncio.get_running_loop().time, self._tools.timing.provider_silence / 1_000
        while True:
            await asyncio.sleep(max(0.0, self._received_at + seconds - now()))
            if now() >= self._received_at + seconds:
                await self._ping()

    async def _ping(self) -> None:
        await self._provider.ping()
        self._received_at = asyncio.get_running_loop().time()
        self._handlers.receive({"type": "pong"})

    async def _authorize(self, fields: Mapping[str, str]) -> Mapping[str, Any]:
        descriptors = self._tools.descriptors
        token = await descriptors.token()
        result = await self._tools.http.post(descriptors.url("auth"), fields, token)
        if result.status != OK:
            raise AccessDeniedError(result.status or UNAVAILABLE, result.message or "no answer")
        return result.fields or {}


def _close_code(error: BaseException) -> int:
    """Return the close code of an error: whatever its class, the connection is lost."""
    if isinstance(error, AccessDeniedError) and error.status == UNAUTHORIZED:
        return CloseCode.TOKEN
    if isinstance(error, UndeliveredError):
        return CloseCode.UNDELIVERED
    expected = ConnectionLostError, AccessDeniedError, ProtocolError
    if isinstance(error, (*expected, RouteMissingError, TokenUnavailableError, KeyError)):
        _logger.info("provider's connection failed: error=%r", error)
    elif isinstance(error, Exception):
        log_connection_failure(_logger, "provider's connection failed", error)
    else:
        raise error
    return CloseCode.ABNORMAL
