"""Conversation on one transport: introduction, subscriptions and received messages."""

import logging
import random
import uuid
from collections.abc import Callable, Collection
from typing import ClassVar

from realtime_bridge.client.descriptor import milliseconds
from realtime_bridge.client.poll_answer import FINAL, FORBIDDEN, apply_page, is_healthy
from realtime_bridge.client.questions import PING, TOKEN, Questions
from realtime_bridge.client.transport import (
    INVALID_MESSAGE,
    Handle,
    Message,
    Transport,
    TransportTools,
)
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.client.carried_channels import CarriedChannels
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
        heartbeat_interval: int,
        on_ready: Callable[[int], None],
        on_closed: Callable[[int], None],
    ) -> None:
        self._number = number
        self._channels = tools.channels
        self._timing = tools.timing
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
        self._unanswered: set[str] = set()
        """Channels whose first answer makes the session ready."""
        self._questions = Questions(
            number, machine, timing=tools.timing, call_later=tools.call_later
        )
        self._asked: dict[str, Position | None] = {}
        """Positions in the subscriptions that have no answer yet."""
        self._again: set[str] = set()
        """Channels to request again after the answer that is due."""
        self._carried = CarriedChannels()
        self._retries: dict[str, Handle] = {}
        self._keep_alive: Handle | None = None

    @property
    def unpushed(self) -> Collection[str]:
        """Channels whose events this transport does not push, in their state of any moment."""
        return self._carried.unpushed

    def pushes(self, channel: str) -> bool:
        """Return whether a request here brings a channel's events; if not, polls have to help."""
        return self._carried.pushes(channel) and not self._questions.is_overdue(channel)

    def carry(self, limit: int) -> None:
        """Choose the channels that this transport carries: the first ones, up to its limit."""
        self._carried.limit = limit
        for channel in self._channels.names:
            self._carried.carry(channel)

    def introduce(self, token: str) -> None:
        """Send `connect`."""
        self._send("connect", token=token, nonce=self._nonce, version=messages.VERSION)

    def renew(self, token: str) -> None:
        """Send a fresh token; another `welcome` answers it."""
        if self._is_welcome:
            self._questions.ask(TOKEN)
            self._send("token", token=token, nonce=self._nonce)

    def ping(self) -> None:
        """Send a ping; a `pong` with its nonce answers it."""
        self._ping_nonce = uuid.uuid4().hex[:16]
        self._questions.ask(PING)
        self._send("ping", nonce=self._ping_nonce)

    def subscribe(self, channel: str) -> None:
        """Request the events after the channel's position.

        The server closes a connection with two requests for one channel in flight, so the second
        one follows the answer to the first.
        """
        if (
            not self._is_welcome
            or not self._channels.has(channel)
            or not self._carried.carry(channel)
        ):
            return
        if channel in self._asked:
            self._again.add(channel)
            return
        position = self._channels.position(channel)
        self._asked[channel] = position
        self._questions.ask(channel)
        fields = {"position": position} if position else {}
        self._send("subscribe", channel=channel, **fields)

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
            self._questions.answered(TOKEN)
            return
        self._is_welcome = True
        for channel in self._channels.names:
            self.subscribe(channel)
        self._unanswered = set(self._asked)
        self._check_ready()

    def _on_event(self, message: Message) -> None:
        try:
            event = messages.decode_event(message)
        except (ProtocolError, TypeError) as error:
            self._skip(message, error)
            return
        self._machine.event_received()
        if self._channels.event(event):
            self.subscribe(event.channel)

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
        asked = self._asked.get(channel)
        is_wanted_again = self._answered(channel)
        self._carried.subscribed(channel)
        # Without a log there is neither a position nor a page.
        if "epoch" in message:
            top = Position.from_json(message)
            is_wanted_again |= apply_page(self._channels, channel, message, top, asked)
        if is_wanted_again:
            self.subscribe(channel)
        self._check_ready()

    def _on_reset(self, message: Message) -> None:
        channel = str(message.get("channel"))
        if message["reason"] == "forbidden":
            self._deny(channel, FORBIDDEN)
            return
        position = Position.from_json(message) if "epoch" in message else None
        if self._channels.reset(channel, message["reason"], position, self._asked.get(channel)):
            self.subscribe(channel)

    def _on_stub(self, message: Message) -> None:
        self._on_offset(str(message.get("channel")), message["offset"])

    def _on_refused(self, message: Message) -> None:
        channel = str(message.get("channel"))
        self._answered(channel)
        reason = str(message.get("message"))
        if message.get("code") in FINAL:
            _logger.warning("channel denied: channel=%r reason=%r", channel, reason)
            self._deny(channel, reason)
        else:
            _logger.info("channel refused: channel=%r reason=%r", channel, reason)
            self._retry(channel)
        self._check_ready()

    def _on_heartbeat(self, message: Message) -> None:
        for channel, offset in (message.get("offsets") or {}).items():
            self._on_offset(channel, offset)
        self._report_health(message)
        self._machine.generation(message.get("generation") or 0)

    def _on_pong(self, message: Message) -> None:
        # The provider's and the stream's own pong shows nothing about the server.
        self._questions.answered(PING, prompt=message.get("nonce") == self._ping_nonce)

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
            self.subscribe(channel)

    def _send(self, kind: str, **fields: object) -> None:
        if self._keep_alive:
            self._keep_alive.cancel()
        self._keep_alive = self._call_later(self._heartbeat_interval / 1_000, self.ping)
        if self.transport:
            self.transport.send({"type": kind, **fields})

    def _answered(self, channel: str) -> bool:
        """Record the answer to a subscription, and return whether another one is wanted."""
        self._asked.pop(channel, None)
        self._questions.answered(channel)
        self._unanswered.discard(channel)
        is_wanted_again = channel in self._again
        self._again.discard(channel)
        return is_wanted_again

    def _check_ready(self) -> None:
        if self._is_welcome and not self._is_ready and not self._unanswered:
            self._is_ready = True
            self._on_ready(self._number)

    def _deny(self, channel: str, reason: str) -> None:
        self._channels.deny(channel, reason)
        self._leave(channel)

    def leave(self, channels: Collection[str]) -> None:
        """Forget channels that a poll denied."""
        for channel in channels:
            self._leave(channel)
        self._check_ready()

    def _leave(self, channel: str) -> None:
        """Forget a channel; another one may take its place."""
        self._answered(channel)
        if handle := self._retries.pop(channel, None):
            handle.cancel()
        if successor := self._carried.leave(channel):
            if not self._is_ready:
                self._unanswered.add(successor)
            self.subscribe(successor)

    def _retry(self, channel: str) -> None:
        self._carried.refused(channel)
        if handle := self._retries.pop(channel, None):
            handle.cancel()
        wait = self._timing.subscribe_retry * random.uniform(0.8, 1.2)  # noqa: S311 -- it spreads
        # One after the other: together they would exceed the server's limit again.
        wait += self._timing.subscribe_pace * len(self._retries)
        self._retries[channel] = self._call_later(wait / 1_000, lambda: self._try_again(channel))

    def _try_again(self, channel: str) -> None:
        self._retries.pop(channel, None)
        self.subscribe(channel)

    def _release(self) -> None:
        self._is_over = True
        self._is_welcome = False
        self._questions.release()
        for handle in (self._keep_alive, *self._retries.values()):
            if handle:
                handle.cancel()
