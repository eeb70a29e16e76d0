"""What makes the state machine act: a clock, sockets, and requests."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Literal
from urllib.parse import urljoin

from websockets.exceptions import ConnectionClosed

from realtime_bridge.backend.provider_connection import AccessDeniedError, ConnectionLostError
from realtime_bridge.client.bridge_http import OK, BridgeHTTP, HTTPResult
from realtime_bridge.client.descriptor import Descriptor
from realtime_bridge.client.hosted_transport import HostedTransport, audible
from realtime_bridge.client.subscription_set import DeniedError, SubscriptionSet, Unavailable
from realtime_bridge.client.websocket_transport import WebSocketTransport
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.client.commands import Command, Options
from realtime_bridge.protocol.client.machine import Machine
from realtime_bridge.protocol.client.status import Status, status
from realtime_bridge.protocol.wire.messages import ProtocolError, decode_position

Positions = Mapping[str, Position | None]

MALFORMED = 400
UNAVAILABLE = 503

Transport = Literal["auto", "websocket", "poll"]

_logger = logging.getLogger("realtime_bridge.client")


class ClientRunner:
    """Runs one client's machine until it is denied, or cancelled."""

    def __init__(
        self,
        url: str,
        stream: SubscriptionSet,
        *,
        transport: Transport,
        options: Options,
        on_status: Callable[[Status], None] | None,
    ) -> None:
        self._base = f"{url}/connect"
        self._stream = stream
        self._transport = transport
        self._on_status = on_status
        self._machine = Machine(options)
        self._http = BridgeHTTP(url)
        self._descriptor = Descriptor()
        self._sockets: dict[int, WebSocketTransport | HostedTransport] = {}
        self._serving: dict[int, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._polling: asyncio.Task[None] | None = None
        stream.changed = self._note_current
        self._over = asyncio.Event()
        self._said = "the server refuses this client"
        self._shown = self.status

    @property
    def status(self) -> Status:
        """What to show people now."""
        return status(self._machine, _now())

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            DeniedError: the server refuses us for good.

        """
        try:
            async with self._http, asyncio.TaskGroup() as self._tasks:
                self.tell("start")
                await self._over.wait()
                raise DeniedError(f"{self._machine.reason}: {self._said}")
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            if self._timer:
                self._timer.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Begin some work, unless everything is being ended: a timer may still fire then."""
        try:
            return self._tasks.create_task(work)
        except RuntimeError:
            work.close()
            return None

    def tell(self, name: str, *args: Any, **named: Any) -> None:
        """Give the machine an input, and do what it says."""
        before = self._machine.mode
        machine = self._machine.at(_now(), random.random())  # noqa: S311 -- it spreads clients
        for command in getattr(machine, name)(*args, **named):
            getattr(self, f"_do_{command.do}")(command)
        if machine.mode != before:
            _logger.info("%s → %s: %s", before, machine.mode, machine.reason or name)
        if machine.mode in ("DENIED", "STOPPED"):
            self._over.set()
        self._set_timer()
        self._show()

    def _do_describe(self, _: Command) -> None:
        self._spawn(self._fetch_descriptor())

    _do_renew = _do_describe

    def _do_open(self, command: Command) -> None:
        assert command.socket
        if serving := self._spawn(self._serve(command.socket)):
            self._serving[command.socket] = serving

    def _do_probe(self, command: Command) -> None:
        if socket := self._sockets.get(command.socket or 0):
            socket.probe(self._descriptor.token or "")

    def _do_ping(self, command: Command) -> None:
        self._send(command, "ping", nonce="alive")

    def _do_close(self, command: Command) -> None:
        if socket := self._sockets.get(command.socket or 0):
            socket.abort()
            self._serving[command.socket or 0].cancel()

    def _do_poll(self, _: Command) -> None:
        if self._transport == "websocket":
            asyncio.get_running_loop().call_soon(self.tell, "poll_failed")
        else:
            self._polling = self._spawn(self._poll_once())

    def _do_abandon(self, _: Command) -> None:
        if self._polling:
            self._polling.cancel()

    def _do_token(self, command: Command) -> None:
        self._send(command, "token", token=self._descriptor.token)

    def _send(self, command: Command, kind: str, **fields: Any) -> None:
        if socket := self._sockets.get(command.socket or 0):
            self._spawn(_send(socket, kind, **fields))

    async def _fetch_descriptor(self) -> None:
        try:
            token = await self._stream.token()
        except Unavailable:
            self.tell("descriptor_failed")
            return
        answer = await self._http.post(self._base, {"client": self._stream.client}, token)
        try:
            self._descriptor, terms = Descriptor.read(answer.fields)
        except (KeyError, TypeError):
            self._said = answer.reason
            self.tell("descriptor_failed", answer.status)
            return
        self.tell("descriptor_received", terms)

    async def _serve(self, number: int) -> None:
        socket = self._sockets[number] = self._socket(partial(self._heard, number))
        try:
            code = await socket.run()
        finally:
            del self._sockets[number], self._serving[number]
            self._stream.interrupted()
        self.tell("closed", number, code)

    def _socket(self, tell: Callable[..., None]) -> WebSocketTransport | HostedTransport:
        """Make what the descriptor names, where it can be heard here and nothing else is wanted."""
        hosted = audible(self._descriptor.provider) if self._transport == "auto" else None
        if hosted is None:
            return WebSocketTransport(self._url("ws"), self._stream, tell)
        return HostedTransport(
            partial(hosted.create_connection, self._descriptor.options),
            permit=self._permit,
            stream=self._stream,
            ask_log=self._ask_log if self._descriptor.logged else None,
            tell=tell,
        )

    async def _permit(self, fields: Mapping[str, str]) -> dict[str, Any]:
        url, token = self._url(self._descriptor.auth), self._descriptor.token
        answer = await self._http.post(url, dict(fields), token or "")
        if answer.status != OK:
            raise AccessDeniedError(answer.status or UNAVAILABLE, answer.reason)
        return answer.fields

    async def _ask_log(self, positions: Positions) -> bool:
        answer = await self._ask(positions)
        if answer.status != OK:
            raise AccessDeniedError(answer.status or UNAVAILABLE, answer.reason)
        self._note(answer.fields)
        return await self._take_all(answer, positions)

    def _heard(self, number: int, name: str, *args: Any, **named: Any) -> None:
        if name in ("opened", "ready", "frame", "drain"):
            self.tell(name, number, *args, **named)
        else:
            self.tell(name, *args, **named)

    async def _poll_once(self) -> None:
        try:
            positions = self._stream.positions
            answer = await self._ask(positions)
            more = answer.status == OK and await self._take_all(answer, positions)
        except (Unavailable, ProtocolError, KeyError, TypeError) as error:
            _logger.info("a poll failed: %r", error)
            answer = HTTPResult(None, {})
        if answer.status == OK:
            self._polled(answer.fields, more=more)
            return
        if answer.status == MALFORMED:
            raise DeniedError(answer.reason)
        self._said = answer.reason
        self._stream.interrupted()
        self.tell("poll_failed", answer.status, answer.retry_after)

    def _polled(self, fields: dict[str, Any], *, more: bool) -> None:
        moved = any(said.get("events") for said in fields["channels"].values())
        self.tell("poll_succeeded", moved=moved, more=more, next_ms=fields.get("next_ms"))
        self._note(fields)

    def _note(self, fields: dict[str, Any]) -> None:
        self.tell("generation", fields.get("generation", 0))
        self.tell("status", ok=all(word == "ok" for word in fields.get("status", {}).values()))

    async def _ask(self, positions: Positions) -> HTTPResult:
        question = {
            channel: position.to_json() if position else None
            for channel, position in positions.items()
        }
        token = self._descriptor.token or await self._stream.token()
        return await self._http.post(self._url("poll"), {"positions": question}, token)

    async def _take_all(self, answer: HTTPResult, asked: Positions) -> bool:
        """Apply an answer; True when some channel has more to say at once."""
        said = answer.fields["channels"].items()
        for name, fields in said:
            if fields.get("reset") == "forbidden":
                raise DeniedError(f"{name}: this user may not listen to it")
        return any([await self._take(name, fields, asked[name]) for name, fields in said])

    async def _take(self, channel: str, fields: dict[str, Any], asked: Position | None) -> bool:
        if "error" in fields:
            return False
        if "reset" in fields:
            top = None if fields["position"] is None else decode_position(fields["position"])
            return bool(await self._stream.reset(channel, fields["reset"], top, asked=asked))
        page = {**fields["position"], "events": fields["events"], "more": fields.get("more")}
        return bool(await self._stream.page(channel, page))

    def _url(self, name: str) -> str:
        """Return where a route is; URLs are relative to that of `connect`."""
        return urljoin(self._base, name)

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        wake_at = self._machine.wake_at
        if wake_at is not None:
            wait = max(0, wake_at - _now()) / 1_000
            self._timer = asyncio.get_running_loop().call_later(wait, self._tick)

    def _tick(self) -> None:
        """Do what is due; a handler that keeps us from reading is not a silent server."""
        if self._stream.full:
            for number in list(self._sockets):
                self.tell("frame", number)
        self.tell("tick")

    def _note_current(self) -> None:
        if self._stream.current != (self._machine.behind is None):
            self.tell("sync_changed", ok=self._stream.current)

    def _show(self) -> None:
        shown = self.status
        if shown != self._shown:
            self._shown = shown
            if self._on_status:
                self._on_status(shown)


def _now() -> int:
    return time.monotonic_ns() // 1_000_000


async def _send(socket: WebSocketTransport | HostedTransport, kind: str, **fields: Any) -> None:
    with suppress(ConnectionClosed, ConnectionLostError):
        await socket.send(kind, **fields)
