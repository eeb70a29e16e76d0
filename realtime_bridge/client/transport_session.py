"""Conversation on one transport: introduction, subscriptions and received messages."""

import logging
import uuid
from collections.abc import Callable, Collection
from typing import ClassVar

from realtime_bridge.client.descriptor import milliseconds
from realtime_bridge.client.poller import FINAL, FORBIDDEN, apply_page, is_healthy
from realtime_bridge.client.requests import PING, TOKEN, Requests
from realtime_bridge.client.transport import (
    INVALID_MESSAGE,
    Handle,
    Message,
    Transport,
    TransportTools,
)
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.client.machine import Machine
from realtime_bridge.protocol.wire import messages
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.protocol.wire.messages import ProtocolError

_logger = logging.getLogger("realtime_bridge.client")


class TransportSession:
    """Conversation on one transport.

    Args:
        number: Number of the socket in the machine's inputs and commands.
        tools: Parts of the client.
        machine: Receiver of the inputs.
        channel_limit: Number of channels that the transport carries: the first ones.
        heartbeat_interval: Time without a sent message after which a ping is sent, in ms.
        on_ready: Called when `welcome` came and each subscription was answered.
        on_closed: Called when the transport has ended, before the machine's input.

    """

    def __init__(
        self,
        number: int,
        tools: TransportTools,
        machine: Machine,
        *,
        channel_limit: int,
        heartbeat_interval: int,
        on_ready: Callable[[int], None],
        on_closed: Callable[[int], None],
    ) -> None:
        self._number = number
        self._channels = tools.channels
        self._call_later = tools.call_later
        self._machine = machine
        self._heartbeat_interval = heartbeat_interval
        self._on_ready = on_ready
        self._on_closed = on_closed
        self.transport: Transport | None = None
        """Transport that carries the conversation; None before it is created."""
        self._nonce = uuid.uuid4().hex
        self._ping_nonce = ""
        self._refusal: tuple[str | None, str | None] = (None, None)
        """Code and words of the server's last `error`."""
        self._is_welcome = self._is_ready = self._is_over = False
        self.requests: Requests = Requests(
            number, tools, machine, limit=channel_limit, send=self._send
        )
        """Requests that the server has not answered, and the channels that the transport carries.
        """
        self._keep_alive: Handle | None = None

    def introduce(self, token: str) -> None:
        """Send `connect`."""
        self._send("connect", token=token, nonce=self._nonce, version=messages.VERSION)

    def renew(self, token: str) -> None:
        """Send a fresh token; another `welcome` answers it."""
        if self._is_welcome:
            self.requests.ask(TOKEN)
            self._send("token", token=token, nonce=self._nonce)

    def ping(self) -> None:
        """Send a ping; a `pong` with its nonce answers it."""
        self._ping_nonce = uuid.uuid4().hex[:16]
        self.requests.ask(PING)
        self._send("ping", nonce=self._ping_nonce)

    def close(self) -> None:
        """End the conversation at the machine's command."""
        self._release()
        if self.transport:
            self.transport.close()

    def closed(self, code: int, reason: str = "") -> None:
        """Handle a transport that ended by itself."""
        if self._is_over:
            return
        self._release()
        self._on_closed(self._number)
        refusal, message = self._refusal
        self._machine.closed(self._number, code, refusal, message or reason or None)

    def receive(self, message: Message) -> None:
        """Handle a message; an invalid one ends the conversation."""
        kind = message.get("type")
        # Another server could answer on this address: nothing counts before `welcome`.
        if self._is_over or (not self._is_welcome and kind not in ("welcome", "error")):
            return
        if self._is_ready:
            self._machine.message_received(self._number)
        handle = self._HANDLERS.get(kind) if isinstance(kind, str) else None
        try:
            if handle:
                handle(self, message)
        except (ProtocolError, KeyError, TypeError, ValueError) as error:
            _logger.info("invalid message: type=%s error=%r", kind, error)
            transport = self.transport
            self.closed(CloseCode.ABNORMAL, INVALID_MESSAGE)
            if transport:
                transport.close()

    def _on_welcome(self, message: Message) -> None:
        if message.get("nonce") != self._nonce:
            return
        if message.get("restarted"):
            self._machine.clock_changed(self._number)
        self._report_health(message)
        if self._is_welcome:
            self.requests.answered(TOKEN)
            if message.get("restarted"):
                # What is published meanwhile arrives after its answers: they have deadlines again.
                self.requests.restart()
            return
        self._is_welcome = True
        self.requests.start()
        self._check_ready()

    def _on_event(self, message: Message) -> None:
        try:
            event = messages.decode_event(message)
        except (ProtocolError, TypeError) as error:
            self._skip(message, error)
            return
        self._machine.event_received()
        if self._channels.event(event):
            self.requests.subscribe(event.channel)

    def _skip(self, message: Message, error: Exception) -> None:
        """Handle a pushed event that breaks the rules; a page of the log resets the channel."""
        channel, offset = str(message.get("channel")), message.get("offset")
        _logger.warning("unreadable event: channel=%r error=%r", channel, error)
        if isinstance(offset, int):
            self._on_offset(channel, offset)
        else:
            self._channels.reset(channel, "signal", None, None)

    def _on_subscribed(self, message: Message) -> None:
        channel = str(message.get("channel"))
        asked = self.requests.asked.get(channel)
        is_wanted_again = self.requests.subscribed(channel)
        # Without a log there is neither a position nor a page.
        if "epoch" in message:
            is_wanted_again |= apply_page(self._channels, channel, message, message, asked)
        if is_wanted_again:
            self.requests.subscribe(channel)
        self._check_ready()

    def _on_reset(self, message: Message) -> None:
        channel = str(message.get("channel"))
        if message["reason"] == "forbidden":
            self._deny(channel, FORBIDDEN)
            return
        position = Position.from_json(message) if "epoch" in message else None
        if self._channels.reset(
            channel, message["reason"], position, self.requests.asked.get(channel)
        ):
            self.requests.subscribe(channel)

    def _on_stub(self, message: Message) -> None:
        self._on_offset(str(message.get("channel")), message["offset"])

    def _on_refused(self, message: Message) -> None:
        channel = str(message.get("channel"))
        reason = str(message.get("message"))
        if message.get("code") in FINAL:
            _logger.warning("channel denied: channel=%r reason=%r", channel, reason)
            self._deny(channel, reason)
        else:
            _logger.info("channel refused: channel=%r reason=%r", channel, reason)
            self.requests.refused(channel)
        self._check_ready()

    def _on_heartbeat(self, message: Message) -> None:
        offsets = message.get("offsets")
        for channel, offset in offsets.items() if isinstance(offsets, dict) else ():
            self._on_offset(channel, offset)
        self._report_health(message)
        self._machine.generation(message.get("generation") or 0)

    def _on_pong(self, message: Message) -> None:
        # The provider's and the stream's own pong shows nothing about the server.
        self.requests.answered(PING, prompt=message.get("nonce") == self._ping_nonce)

    def _on_drain(self, message: Message) -> None:
        after, window = (milliseconds(message.get(name), 0) for name in ("after", "window"))
        self._machine.drain(self._number, after, window)

    def _on_status(self, message: Message) -> None:
        self._report_health(message)

    def _on_error(self, message: Message) -> None:
        reason = message.get("reason")
        words = message.get("message")
        self._refusal = (
            reason if isinstance(reason, str) else None,
            words if isinstance(words, str) else None,
        )
        _logger.warning(
            "error from the server: code=%r message=%r", message.get("code"), message.get("message")
        )

    _HANDLERS: ClassVar[dict[str, Callable[["TransportSession", Message], None]]] = {
        "welcome": _on_welcome,
        "event": _on_event,
        "subscribed": _on_subscribed,
        "reset": _on_reset,
        "stub": _on_stub,
        "refused": _on_refused,
        "heartbeat": _on_heartbeat,
        "pong": _on_pong,
        "drain": _on_drain,
        "status": _on_status,
        "error": _on_error,
    }
    """Handlers by type; other types are for newer clients."""

    def _report_health(self, message: Message) -> None:
        sent = message.get("time")
        self._machine.health(
            self._number, ok=is_healthy(message), sent=sent if isinstance(sent, int) else None
        )

    def _on_offset(self, channel: str, offset: int) -> None:
        if self._channels.offset_announced(channel, offset):
            self.requests.subscribe(channel)

    def _send(self, kind: str, **fields: object) -> None:
        if self._keep_alive:
            self._keep_alive.cancel()
        self._keep_alive = self._call_later(self._heartbeat_interval / 1_000, self.ping)
        if self.transport:
            self.transport.send({"type": kind, **fields})

    def _check_ready(self) -> None:
        if self._is_welcome and not self._is_ready and not self.requests.unanswered:
            self._is_ready = True
            self._on_ready(self._number)

    def _deny(self, channel: str, reason: str) -> None:
        self._channels.deny(channel, reason)
        self.requests.leave(channel)

    def leave(self, channels: Collection[str]) -> None:
        """Forget channels that a poll denied."""
        for channel in channels:
            self.requests.leave(channel)
        self._check_ready()

    def _release(self) -> None:
        self._is_over = True
        self._is_welcome = False
        self.requests.release()
        if self._keep_alive:
            self._keep_alive.cancel()
