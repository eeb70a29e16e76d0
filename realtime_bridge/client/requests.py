"""Requests on one connection until the server answers them: subscriptions, a token, a ping."""

import random
from collections.abc import Callable

from realtime_bridge.client.transport import Handle, TransportTools
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.client.machine import Machine

PING, TOKEN = ":ping", ":token"
"""Names of the requests that are not about a channel; no channel's name has a colon."""


class Requests:
    """Requests on one connection that have no answer yet, and the channels that it carries.

    The first channels are carried, up to the limit; each that leaves makes room for another. Each
    request has a deadline: messages of the server alone do not show that it receives ours.

    Args:
        socket: Number of the connection in the machine's inputs.
        tools: Parts of the client.
        machine: Receiver of the inputs.
        limit: Largest number of channels.
        send: Sends a `subscribe` with these fields.

    """

    def __init__(
        self,
        socket: int,
        tools: TransportTools,
        machine: Machine,
        *,
        limit: int,
        send: Callable[..., None],
    ) -> None:
        self._socket = socket
        self._channels = tools.channels
        self._timing = tools.timing
        self._call_later = tools.call_later
        self._machine = machine
        self._limit = limit
        self._send = send
        names = tools.channels.names
        self._is_open = False
        self._carried = dict.fromkeys(names[:limit])
        self.unpushed: dict[str, None] = dict.fromkeys(names[len(self._carried) :])
        """Channels whose events are not pushed: over the limit, or refused for now."""
        self.asked: dict[str, Position | None] = {}
        """Positions in the subscriptions that have no answer yet."""
        self.unanswered: set[str] = set()
        """Channels whose first answer makes the connection ready."""
        self._again: set[str] = set()
        """Channels to request again after the answer that is due."""
        self._timers: dict[str, Handle] = {}
        self._overdue: set[str] = set()
        self._retries: dict[str, Handle] = {}

    def pushes(self, channel: str) -> bool:
        """Return whether a request here brings a channel's events; if not, polls have to help."""
        return channel not in self.unpushed and channel not in self._overdue

    def start(self) -> None:
        """Subscribe to the carried channels: the server accepted the connection."""
        self._is_open = True
        for channel, position in self._channels.positions_of(self._carried).items():
            self._request(channel, position)
        self.unanswered = set(self.asked)

    def restart(self) -> None:
        """Request all carried channels again: the connection continues at another server."""
        for channel, position in self._channels.positions_of(self._carried).items():
            self._request(channel, position)

    def subscribe(self, channel: str) -> None:
        """Request the events after the channel's position.

        The server closes a connection with two requests for one channel in flight, so the second
        one follows the answer to the first.
        """
        if not self._is_open or not self._channels.has(channel) or not self._carry(channel):
            return
        if channel in self.asked:
            self._again.add(channel)
        else:
            self._request(channel, self._channels.position(channel))

    def subscribed(self, channel: str) -> bool:
        """Record that the server pushes a channel's events; the result is that of `answered`."""
        self.unpushed.pop(channel, None)
        return self.answered(channel)

    def refused(self, channel: str) -> None:
        """Record that the server refuses a channel for now, and request it again later."""
        self.answered(channel)
        self.unpushed[channel] = None
        if handle := self._retries.pop(channel, None):
            handle.cancel()
        wait = self._timing.subscribe_retry * random.uniform(0.8, 1.2)  # noqa: S311 -- it spreads
        # One after the other: together they would exceed the server's limit again.
        wait += self._timing.subscribe_pace * len(self._retries)
        self._retries[channel] = self._call_later(wait / 1_000, lambda: self._try_again(channel))

    def leave(self, channel: str) -> None:
        """Remove a channel; another one may take its place."""
        self.answered(channel)
        self.unpushed.pop(channel, None)
        if handle := self._retries.pop(channel, None):
            handle.cancel()
        if channel not in self._carried:
            return
        del self._carried[channel]
        successor = next((name for name in self.unpushed if name not in self._carried), None)
        if successor is not None:
            # At once: before the server accepts the connection, nothing subscribes.
            self._carried[successor] = None
            self.unanswered.add(successor)
            self.subscribe(successor)

    def ask(self, request: str) -> None:
        """Start the deadline of a request; one that is made again keeps its first deadline."""
        if request not in self._timers:
            self._wait(request, self._timing.late_after, self._on_overdue)

    def answered(self, request: str, *, prompt: bool = False) -> bool:
        """End a request, and return whether its channel is to be requested again.

        With `prompt`, an answer in time shows that the link does not lag.
        """
        self.asked.pop(request, None)
        self.unanswered.discard(request)
        if timer := self._timers.pop(request, None):
            timer.cancel()
            was_overdue = request in self._overdue
            self._overdue.discard(request)
            if (prompt or was_overdue) and not self._overdue:
                self._machine.answered(self._socket, prompt=prompt and not was_overdue)
        is_wanted_again = request in self._again
        self._again.discard(request)
        return is_wanted_again

    def release(self) -> None:
        """End all requests: the connection is closed."""
        self._is_open = False
        for timer in (*self._timers.values(), *self._retries.values()):
            timer.cancel()
        self._timers.clear()
        self._overdue.clear()

    def _carry(self, channel: str) -> bool:
        """Carry a channel, if there is room, and return whether the connection carries it."""
        if channel in self._carried:
            return True
        if len(self._carried) >= self._limit:
            self.unpushed[channel] = None
            return False
        self._carried[channel] = None
        return True

    def _request(self, channel: str, position: Position | None) -> None:
        self.asked[channel] = position
        self.ask(channel)
        fields = {"position": position} if position else {}
        self._send("subscribe", channel=channel, **fields)

    def _try_again(self, channel: str) -> None:
        self._retries.pop(channel, None)
        self.subscribe(channel)

    def _on_overdue(self, request: str) -> None:
        self._overdue.add(request)
        self._machine.answer_overdue(self._socket)
        wait = self._timing.answer_timeout - self._timing.late_after
        self._wait(request, wait, self._on_missing)

    def _on_missing(self, request: str) -> None:
        # Again later, where the machine keeps a socket that lags.
        self._wait(request, self._timing.answer_timeout, self._on_missing)
        self._machine.answer_missing(self._socket)

    def _wait(self, request: str, milliseconds: int, on_late: Callable[[str], None]) -> None:
        self._timers[request] = self._call_later(milliseconds / 1_000, lambda: on_late(request))
