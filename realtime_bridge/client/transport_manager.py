"""Descriptors, transports and polls of one client, as its state machine commands."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any, Literal

from realtime_bridge.client.bridge_http import OK, HTTPResult
from realtime_bridge.client.descriptor import RouteMissingError, TokenUnavailableError
from realtime_bridge.client.hosted_transport import HostedTransport, listenable_backend
from realtime_bridge.client.poll_answer import PollAnswer, Positions, apply, chunked
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
from realtime_bridge.protocol.wire.messages import ProtocolError

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
                self._polling = self._spawn(self._poll(self._sessions.get(number)))
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
        session = self._sessions[number] = TransportSession(
            number,
            self._tools,
            self._machine,
            heartbeat_interval=self._options.heartbeat_interval,
            on_ready=self._on_ready,
            on_closed=self._lose,
        )
        if self._descriptors.is_usable:
            self._connect(number, session)
        elif waiting := self._spawn(self._connect_later(number, session)):
            self._serving[number] = waiting

    async def _connect_later(self, number: int, session: TransportSession) -> None:
        """Connect with a fresh descriptor: a token that expired meanwhile would be denied."""
        if self._describing is None or self._describing.done():
            self._start_describing()
        if self._describing:
            await asyncio.wait([self._describing])
        if self._descriptors.is_usable:
            self._connect(number, session)
        else:
            self._batch(session.closed, CloseCode.ABNORMAL)

    def _connect(self, number: int, session: TransportSession) -> None:
        handlers = TransportHandlers(
            opened=partial(self._batch, self._machine.opened, number),
            receive=partial(self._batch, session.receive),
            closed=partial(self._batch, session.closed),
        )
        push = self._push_name
        session.carry(self._descriptors.channel_limit)
        try:
            session.transport = self._transports[push](self._tools, handlers)
        except RouteMissingError as error:
            _logger.info("transport not available: error=%r", error)
            # Later, because the machine settles the command that opened this socket.
            loop = asyncio.get_running_loop()
            loop.call_soon(handlers.closed, CloseCode.ABNORMAL, str(error))
            return
        if running := self._spawn(session.transport.run()):
            self._serving[number] = running

    @property
    def _push_name(self) -> str:
        if self._transport != "auto":
            return self._transport
        descriptor = self._descriptors.last
        provider = descriptor.provider if descriptor else "websocket"
        # Without the provider's SDK here, the server itself may still push.
        return "hosted" if provider != "websocket" and listenable_backend(provider) else "websocket"

    def _on_ready(self, number: int) -> None:
        former, self._main = self._main, self._sessions.get(number)
        self._channels.unpushed = self._main.unpushed if self._main else ()
        self._machine.ready(number)
        if former and self._main:
            # The former connection closes, and owes the answers to these channels.
            for channel in self._channels.names:
                if channel in self._channels.behind:
                    self._main.subscribe(channel)

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

    async def _poll(self, session: TransportSession | None) -> None:
        """Poll all channels, or those that a session does not push.

        One request follows the other, each for as many channels as the server accepts.
        """
        names = list(session.unpushed) if session else self._channels.names
        answer = PollAnswer()
        for piece in chunked(names, self._descriptors.channel_limit):
            positions = self._channels.positions_of(piece)
            result = await self._request_poll(positions)
            if result.status == OK:
                result = self._apply(answer, result, positions)
                self._batch(self._leave_denied, answer)
            if result.status != OK:
                self._batch(self._on_poll_failed, result)
                return
        self._batch(self._on_poll_ended, answer)

    async def _request_poll(self, positions: Positions) -> HTTPResult:
        try:
            token = await self._descriptors.token()
            url = self._descriptors.url("poll")
            return await self._tools.http.post(url, {"positions": positions}, token)
        except (TokenUnavailableError, RouteMissingError) as error:
            _logger.info("poll failed: error=%r", error)
            return HTTPResult(message=str(error))

    def _on_poll_failed(self, result: HTTPResult) -> None:
        self._machine.poll_failed(result.status, result.retry_after, result.code, result.message)

    def _apply(self, answer: PollAnswer, result: HTTPResult, asked: Positions) -> HTTPResult:
        try:
            apply(answer, result.fields or {}, asked, self._channels)
        except (ProtocolError, KeyError, TypeError, ValueError) as error:
            _logger.info("invalid answer to a poll: error=%r", error)
            return HTTPResult.foreign(OK)
        return result

    def _leave_denied(self, answer: PollAnswer) -> None:
        for session in self._sessions.values():
            session.leave(answer.denied)
        answer.denied.clear()

    def _on_poll_ended(self, answer: PollAnswer) -> None:
        more = False
        for channel in answer.missing:
            if self._main and self._main.pushes(channel):
                self._main.subscribe(channel)
            else:
                more = True
        self._machine.poll_succeeded(
            moved=answer.moved, more=more, next_ms=answer.next_ms, ok=answer.ok
        )
        self._machine.generation(answer.generation)


def _cancel(task: "asyncio.Task[None] | None") -> None:
    if task:
        task.cancel()
