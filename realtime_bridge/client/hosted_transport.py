"""A connection to a hosted provider, shaped like one to the bridge; the log has what is missing."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from realtime_bridge.backend import plugins
from realtime_bridge.backend.hosted import ListenableBackend
from realtime_bridge.backend.provider_connection import (
    AccessDeniedError,
    Authorize,
    ConnectionLostError,
    ProviderConnection,
)
from realtime_bridge.client.subscription_set import DeniedError, SubscriptionSet, Unavailable
from realtime_bridge.client.websocket_transport import ABNORMAL, Tell
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.wire import messages
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.protocol.wire.messages import ProtocolError

UNAUTHORIZED = 401
FORBIDDEN = 403

QUIET_SECONDS = 10.0
"""How often the provider is asked for a word."""

LATE_SECONDS = 0.5
"""What fills a gap may be under way: the log is asked after so long, or up to half as much more."""

CHECK_SECONDS = 28.0
"""Between comparisons of our positions with the log's, ± 20 %."""

UNDER_WAY_SECONDS = 5.0
"""How long an event may be under way that the log has already."""

MEMORY_SECONDS = 300.0
"""Two checks within so long that find what was never delivered: the provider delivers nothing."""

Positions = Mapping[str, Position | None]
AskLog = Callable[[Positions], Awaitable[bool]]
"""Asks the log for what follows, hands it to the stream, and tells whether there is more."""

_logger = logging.getLogger("realtime_bridge.client")


def audible(provider: str) -> type[ListenableBackend] | None:
    """Return what hears this provider here; None where nothing does."""
    try:
        found = plugins.load_backend(provider)
    except ConfigurationError as error:
        _logger.info("%s", error)
        return None
    return found if issubclass(found, ListenableBackend) else None


class HostedTransport:
    """One connection.

    Args:
        transport: makes it, given the channels and what asks for permission.
        permit: asks the bridge for permission.
        stream: where what arrives goes.
        ask_log: asks the log; None where there is none.
        tell: takes the name of a machine's input, and its arguments but for the socket's number.

    """

    def __init__(
        self,
        transport: Callable[[Collection[str], Authorize], ProviderConnection],
        *,
        permit: Authorize,
        stream: SubscriptionSet,
        ask_log: AskLog | None,
        tell: Tell,
    ) -> None:
        self._transport = transport(list(stream.channels), permit)
        self._stream = stream
        self._ask_log = ask_log
        self._tell = tell
        self._probe: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pushed = False

    def probe(self, _: str) -> None:
        """Begin, once it is open; the provider has its own tokens."""
        if not self._probe.done():
            self._probe.set_result(None)

    async def run(self) -> int:
        """Serve until it ends, and return the code it ended with.

        Raises:
            DeniedError: a channel is refused for good.

        """
        try:
            return await self._run()
        except BaseExceptionGroup as group:
            return _code(group.exceptions[0])
        except Exception as error:
            return _code(error)

    async def send(self, kind: str, **_: Any) -> None:
        """Have the provider show that it is there, where the bridge would be pinged."""
        if kind == "ping":
            await self._transport.ping()
            self._tell("frame")

    def abort(self) -> None:
        """End nothing here: leaving the context closes the connection."""

    async def _run(self) -> int:
        async with self._transport, asyncio.TaskGroup() as tasks:
            self._tell("opened")
            await self._probe
            for channel in self._stream.channels:
                await self._transport.subscribe(channel)
            await self._begin()
            self._tell("ready")
            tasks.create_task(self._listen())
            if self._ask_log:
                tasks.create_task(self._check())
            async for text in self._transport:
                await self._take(text, tasks)
            raise ConnectionLostError("the provider's connection is gone")
        raise AssertionError("unreachable")

    async def _begin(self) -> None:
        """Go on from where we are; without a log nobody knows what was missed."""
        if self._ask_log:
            await self._catch_up(self._stream.channels)
            return
        for channel in self._stream.channels:
            await self._stream.reset(channel, "signal", None, asked=None)

    async def _take(self, text: str, tasks: asyncio.TaskGroup) -> None:
        self._tell("frame")
        self._pushed = True
        fields = messages.decode_object(text)
        channel = str(fields.get("channel"))
        if channel not in self._stream.channels:
            return
        if fields.get("type") == "event":
            self._tell("event_received")
            if await self._stream.event(fields):
                tasks.create_task(self._catch_up_late(channel))
        elif fields.get("type") == "stub" and await self._stream.announced(
            channel, fields["offset"]
        ):
            tasks.create_task(self._catch_up([channel]))

    async def _catch_up_late(self, channel: str) -> None:
        await asyncio.sleep(LATE_SECONDS * (1 + random.random() / 2))  # noqa: S311 -- it spreads
        await self._catch_up([channel])

    async def _catch_up(self, channels: Collection[str]) -> None:
        """Read on in the log, page by page, until its top."""
        asking = self._ask_log
        while asking and await asking({name: self._stream.positions[name] for name in channels}):
            pass

    async def _listen(self) -> None:
        while True:
            await asyncio.sleep(QUIET_SECONDS)
            await self.send("ping")

    async def _check(self) -> None:
        """Compare positions with the log's now and then; give up what twice delivered nothing."""
        missed = float("-inf")
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(CHECK_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 -- it spreads
            if not await self._has_missed():
                continue
            if now() - missed < MEMORY_SECONDS:
                raise ConnectionLostError("the provider delivers nothing")
            missed = now()

    async def _has_missed(self) -> bool:
        """Catch up, and tell whether there was something of which the provider said no word."""
        before, self._pushed = self._stream.positions, False
        await self._catch_up(self._stream.channels)
        if before == self._stream.positions:
            return False
        await asyncio.sleep(UNDER_WAY_SECONDS)
        return not self._pushed


def _code(error: BaseException) -> int:
    """Return the code that a connection ends with by this error; a bug is raised."""
    if isinstance(error, AccessDeniedError) and error.status == FORBIDDEN:
        raise DeniedError(str(error)) from error
    if isinstance(error, AccessDeniedError) and error.status == UNAUTHORIZED:
        return CloseCode.BAD_TOKEN
    if isinstance(
        error, ConnectionLostError | AccessDeniedError | Unavailable | ProtocolError | KeyError
    ):
        _logger.info("the provider's connection failed: %r", error)
        return ABNORMAL
    raise error
