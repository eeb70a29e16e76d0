"""Client that always has a way to its events: it polls while nothing pushes."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from dataclasses import asdict, replace
from types import TracebackType
from typing import Any, Self, TypeVar

from realtime_bridge.client.bridge_http import BridgeHTTP
from realtime_bridge.client.descriptor import DescriptorStore, Token
from realtime_bridge.client.key_reader import KeyReader
from realtime_bridge.client.network import Network
from realtime_bridge.client.runner import ClientRunner
from realtime_bridge.client.subscription_set import (
    ChannelDenied,
    ChannelReset,
    DeniedError,
    SubscriptionSet,
)
from realtime_bridge.client.transport import TransportTools
from realtime_bridge.client.transport_manager import TransportManager, TransportName
from realtime_bridge.errors import ConfigurationError, InvalidEventError
from realtime_bridge.model import ids
from realtime_bridge.model.channel import check_channel
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.client.commands import Options
from realtime_bridge.protocol.client.machine import Machine
from realtime_bridge.protocol.client.options import check_intervals
from realtime_bridge.protocol.client.status import Status
from realtime_bridge.protocol.client.timing import Timing

_URL = re.compile(r"(https?|wss?)://[^/?#\s]+")

T = TypeVar("T")

_logger = logging.getLogger("realtime_bridge.client")


class HybridClient:
    """Client of the bridge at `url`: an async context manager, and an async iterator.

    It yields each event once and in order, and a `ChannelReset` before the next event where there
    is a gap. It connects, recovers and falls back by itself until the context ends.

    A channel that the server denies ends alone: the iterator yields a `ChannelDenied` with the
    server's words, and `errors` has them. When every channel is denied, the iterator raises
    `DeniedError`.

    A handler may be slow: up to 10 000 items of a channel wait for it. Beyond that the channel
    gets a reset with the reason `truncated`.

    Args:
        url: URL of the bridge, such as `https://example.com/realtime`.
        channels: Names of the channels; or a mapping from each name to the position to resume
            from, None for now.
        token: Token, or an async function that returns a fresh one.
        transport: `auto` takes the transport of the server's provider, `websocket` and `sse`
            (server-sent events) that one; each polls while it pushes nothing. `poll` only polls.
        options: Intervals and limits, in milliseconds.
        on_status: Called with the connection status whenever it changes.
        timing: Durations of the client, in milliseconds; for tests.
        network: Ways to reach the server; for a simulation.

    Raises:
        ConfigurationError: the url is invalid.

    """

    def __init__(
        self,
        url: str,
        channels: Iterable[str] | Mapping[str, Position | None],
        *,
        token: Token,
        transport: TransportName = "auto",
        options: Options | None = None,
        on_status: Callable[[Status], None] | None = None,
        timing: Timing | None = None,
        network: Network | None = None,
    ) -> None:
        if not _URL.match(url):
            raise ConfigurationError(
                f"The url is an address like https://example.com/realtime, not {url!r}"
            )
        url = url.rstrip("/")
        url = url.replace("ws", "http", 1) if url.startswith("ws") else url
        options = _checked(options or Options(), push=transport != "poll")
        timing, network = timing or Timing(), network or Network()
        positions = channels if isinstance(channels, Mapping) else dict.fromkeys(channels)
        self._channels = SubscriptionSet(positions, ids.client_id())
        self._http = BridgeHTTP(url, timeout=timing.poll_timeout, network=network)
        self._descriptors = DescriptorStore(url, client=self.client, token=token, http=self._http)
        self._keys = KeyReader(self._http, self._descriptors)
        self._runner = ClientRunner(Machine(options, timing), self._channels, on_status=on_status)
        self._transport, self._options, self._timing = transport, options, timing
        self._network = network
        self._running: asyncio.Task[None] | None = None

    @property
    def client(self) -> str:
        """Id of this client: it does not get events published with it as their `source`."""
        return self._channels.client

    @property
    def positions(self) -> Mapping[str, Position | None]:
        """Position of each channel after the last item taken: another client resumes there."""
        return self._channels.handled_positions

    @property
    def errors(self) -> Mapping[str, str]:
        """Reason of each channel that the server denies."""
        return self._channels.errors

    @property
    def status(self) -> Status:
        """Connection status for users: a kind, a label and a reason."""
        return self._runner.status

    async def wait_subscribed(self) -> tuple[str, Position]:
        """Wait until one more channel is subscribed, and return its name and position.

        Raises:
            DeniedError: the server denies the channel, or this client.

        """
        outcome = await self._or_failure(self._channels.subscribed.get())
        if isinstance(outcome, DeniedError):
            raise outcome
        return outcome

    async def read_key(self, channel: str, key: str) -> Page:
        """Return the state of a key: the events that describe it, and the position they are of.

        Of a key with an owner, all items that it appended are one event. It waits until the server
        answers, however long that takes.

        Raises:
            DeniedError: the server denies the channel, or this client.
            ConfigurationError: the server's log has no such states.

        """
        return await self._or_failure(self._keys.read(channel, key))

    async def read_latest(self, channel: str) -> Page:
        """Return the latest events of all keys of a channel, and the position they are of.

        Items of keys with owners are left out. It waits until the server answers.

        Raises:
            DeniedError: the server denies the channel, or this client.
            ConfigurationError: the server stores no events.

        """
        return await self._or_failure(self._keys.read_all(channel))

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._running
        self._running.cancel()
        await asyncio.wait([self._running])
        if not self._running.cancelled():
            # `wait_subscribed` may have raised the error already; asyncio would log it again.
            self._running.exception()

    async def __aiter__(self) -> AsyncIterator[Event | ChannelReset | ChannelDenied]:
        """Yield events, resets and denials.

        Raises:
            DeniedError: the server denies this client, or all its channels.

        """
        while True:
            while (item := self._channels.take()) is None:
                await self._or_failure(self._channels.available.wait())
            yield item

    async def _run(self) -> None:
        self._deny_invalid_names()
        try:
            async with self._http, asyncio.TaskGroup() as tasks:
                transports = self._new_transports(tasks)
                tasks.create_task(self._fail_when_denied())
                self._runner.start(transports.perform)
                try:
                    await self._runner.is_over.wait()
                finally:
                    # Before the group waits for its tasks: a timer could start another one.
                    self._runner.stop()
                raise DeniedError(self._runner.machine.reason or "the server denies this client")
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    def _new_transports(self, tasks: asyncio.TaskGroup) -> TransportManager:
        loop, batch = asyncio.get_running_loop(), self._runner.batch
        tools = TransportTools(
            timing=self._timing,
            http=self._http,
            descriptors=self._descriptors,
            channels=self._channels,
            call_later=lambda seconds, call: loop.call_later(seconds, batch, call),
            network=self._network,
        )
        return TransportManager(
            tools, self._runner, tasks, transport=self._transport, options=self._options
        )

    def _deny_invalid_names(self) -> None:
        # A poll with an invalid name is refused as a whole, for the other channels too.
        for name in self._channels.names:
            try:
                check_channel(name)
            except InvalidEventError as error:
                self._channels.deny(name, str(error))

    async def _fail_when_denied(self) -> None:
        await self._channels.all_denied.wait()
        reasons = (f"{name}: {reason}" for name, reason in self.errors.items())
        raise DeniedError("; ".join(reasons))

    async def _or_failure(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of `work`, unless this client fails for good first."""
        assert self._running, "use the client as a context manager"
        waiting = asyncio.ensure_future(work)
        try:
            await asyncio.wait({waiting, self._running}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                self._running.result()
            return await waiting
        finally:
            waiting.cancel()


def _checked(options: Options, *, push: bool) -> Options:
    valid, problems = check_intervals(asdict(options))
    for problem in problems:
        _logger.warning("invalid option: %s", problem)
    return replace(options, push=push, **valid)
