"""Descriptors, transports and polls of one client, as its state machine commands."""

import asyncio
import logging
from collections.abc import Collection, Coroutine, Mapping
from functools import partial
from typing import Any, Literal

from realtime_bridge.client.bridge_http import OK
from realtime_bridge.client.descriptor import Descriptor, RouteMissingError
from realtime_bridge.client.hosted_transport import HostedTransport
from realtime_bridge.client.poller import FINAL, UNAVAILABLE, Poller
from realtime_bridge.client.provider_backend import listenable_backend
from realtime_bridge.client.runner import ClientRunner
from realtime_bridge.client.sse_transport import SSETransport
from realtime_bridge.client.transport import (
    OpenTransport,
    TransportHandlers,
    TransportTools,
)
from realtime_bridge.client.transport_session import TransportSession
from realtime_bridge.client.websocket_transport import WebSocketTransport
from realtime_bridge.protocol.client.commands import Action, Command, Options
from realtime_bridge.protocol.wire.close_codes import CloseCode

TransportName = Literal["auto", "websocket", "sse", "poll"]

TRANSPORTS: Mapping[str, OpenTransport] = {
    "websocket": WebSocketTransport,
    "sse": SSETransport,
    "hosted": HostedTransport,
}

_logger = logging.getLogger("realtime_bridge.client")


class TransportManager:
    """Performs the commands of one client's machine.

    Args:
        tools: Parts of the client.
        runner: Runner of the machine.
        tasks: Group in which all work runs.
        transport: The application's choice.
        options: Choices of the application.
        transports: Ways to create a transport, by name.

    """

    def __init__(
        self,
        tools: TransportTools,
        runner: ClientRunner,
        tasks: asyncio.TaskGroup,
        *,
        transport: TransportName,
        options: Options,
        transports: Mapping[str, OpenTransport] = TRANSPORTS,
    ) -> None:
        self._tools = tools
        self._channels = tools.channels
        self._descriptors = tools.descriptors
        self._machine = runner.machine
        self._batch = runner.batch
        self._transport = transport
        self._options = options
        self._transports = transports
        self._tasks = tasks
        self._poller = Poller(
            tools, runner, recover=self._recover, leave=self._leave, is_final=self._is_final
        )
        self._sessions: dict[int, TransportSession] = {}
        self._serving: dict[int, asyncio.Task[None]] = {}
        self._main: TransportSession | None = None
        """Session that is live: missing events are requested on it."""
        self._describing: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None

    def perform(self, command: Command) -> None:
        """Perform a command of the machine."""
        number = command.socket or 0
        match command.do:
            case "describe" | "renew":
                self._start_describing()
            case "open":
                self._open(number)
            case "close":
                self._close(number)
            case "poll":
                session = self._sessions.get(number)
                names = session.requests.unpushed if session else None
                self._polling = self._spawn(self._poller.poll(names))
            case "abandon":
                _cancel(self._polling)
            case _:
                self._send(command.do, self._sessions.get(number))

    def _send(self, action: Action, session: TransportSession | None) -> None:
        descriptor = self._descriptors.last
        token = (descriptor and descriptor.token) or ""
        match action:
            case "probe" if session:
                session.introduce(token)
            case "token" if session:
                session.renew(token)
            case "ping" if session:
                session.ping()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None] | None":
        try:
            return self._tasks.create_task(work)
        except RuntimeError:
            # The group ends, but a timer or a callback came first.
            work.close()
            return None

    def _start_describing(self) -> None:
        _cancel(self._describing)
        self._describing = self._spawn(self._describe())

    async def _describe(self) -> None:
        result = await self._descriptors.fetch()
        descriptor = self._descriptors.last
        if result.status == OK and descriptor:
            self._batch(self._machine.descriptor_received, descriptor.terms)
        else:
            self._batch(
                self._machine.descriptor_failed,
                result.status,
                result.code,
                result.retry_after,
                result.message,
            )

    def _open(self, number: int) -> None:
        if descriptor := self._descriptors.usable:
            self._connect(number, descriptor)
        elif waiting := self._spawn(self._connect_later(number)):
            self._serving[number] = waiting

    async def _connect_later(self, number: int) -> None:
        """Connect with a fresh descriptor: a token that expired meanwhile would be denied."""
        if self._describing is None or self._describing.done():
            self._start_describing()
        if self._describing:
            await asyncio.wait([self._describing])
        if descriptor := self._descriptors.usable:
            self._connect(number, descriptor)
        else:
            self._lose(number)
            self._batch(self._machine.closed, number)

    def _connect(self, number: int, descriptor: Descriptor) -> None:
        push = self._push_name(descriptor)
        session = self._sessions[number] = TransportSession(
            number,
            self._tools,
            self._machine,
            channel_limit=descriptor.channel_limit,
            heartbeat_interval=self._options.heartbeat_interval,
            on_ready=self._on_ready,
            on_closed=self._lose,
        )
        handlers = TransportHandlers(
            opened=partial(self._batch, self._machine.opened, number),
            receive=partial(self._batch, session.receive),
            closed=partial(self._batch, session.closed),
        )
        try:
            session.transport = self._transports[push](self._tools, handlers)
        except RouteMissingError as error:
            _logger.info("transport not available: error=%r", error)
            self._fail(handlers, str(error))
            return
        except Exception as error:
            # The options are those of the server's version, and any of the provider's SDK: polls
            # serve meanwhile.
            _logger.warning("transport not available: transport=%s error=%r", push, error)
            self._fail(handlers, f"no connection by {push}: {error!r}")
            return
        if running := self._spawn(session.transport.run()):
            self._serving[number] = running

    @staticmethod
    def _fail(handlers: TransportHandlers, reason: str) -> None:
        # Later, because the machine settles the command that opened this socket.
        asyncio.get_running_loop().call_soon(handlers.closed, CloseCode.ABNORMAL, reason)

    def _push_name(self, descriptor: Descriptor) -> str:
        if self._transport != "auto":
            return self._transport
        # Without the provider's SDK here, the server itself may still push.
        provider = descriptor.provider
        return "hosted" if provider != "websocket" and listenable_backend(provider) else "websocket"

    def _on_ready(self, number: int) -> None:
        former, self._main = self._main, self._sessions.get(number)
        self._channels.unpushed = self._main.requests.unpushed if self._main else ()
        self._machine.ready(number)
        if former and self._main:
            # The former connection closes, and owes the answers to these channels.
            for channel in self._channels.names:
                if channel in self._channels.behind:
                    self._main.requests.subscribe(channel)

    def _close(self, number: int) -> None:
        session = self._sessions.get(number)
        if session:
            session.close()
        _cancel(self._serving.pop(number, None))
        self._lose(number)

    def _lose(self, number: int) -> None:
        session = self._sessions.pop(number, None)
        self._serving.pop(number, None)
        if self._main is session:
            self._main = None
        if self._main is None:
            self._channels.unpushed = ()
            self._channels.interrupted()

    def _leave(self, channels: Collection[str]) -> None:
        for session in self._sessions.values():
            session.leave(channels)

    def _is_final(self, code: object) -> bool:
        """Return whether a poll's refusal of a channel would be repeated."""
        if code != UNAVAILABLE:
            return code in FINAL
        # The channel comes by the provider's connection alone. A client that only polls may have no
        # descriptor.
        descriptor = self._descriptors.last
        push = self._push_name(descriptor) if descriptor else self._transport
        return push not in ("auto", "hosted")

    def _recover(self, channel: str) -> bool:
        """Request a channel's missing events on the live transport, if that pushes them."""
        if self._main is None or not self._main.requests.pushes(channel):
            return False
        self._main.requests.subscribe(channel)
        return True


def _cancel(task: "asyncio.Task[None] | None") -> None:
    if task:
        task.cancel()
