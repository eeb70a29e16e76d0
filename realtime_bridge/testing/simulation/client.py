"""Client of a simulation: the real state machine and reducers, in virtual time."""

from typing import Any

from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.client.commands import Command, Terms
from realtime_bridge.protocol.client.machine import Machine
from realtime_bridge.testing.simulation.channels import RETRY_MS, TIMEOUT_MS, Channels
from realtime_bridge.testing.simulation.connection import (
    OK,
    Answer,
    ClientSocket,
    Connection,
    Message,
    Positions,
)
from realtime_bridge.testing.simulation.deployment import Deployment

BUSY = 503
HOSTED_RECOVERY_MS = (500, 750)
"""Wait before a gap is filled on a provider, which may deliver the missing event late."""

HOSTED_CHECK_MS = 30_000
"""Interval of the position checks on a provider."""


class Client:
    """Page that subscribes to channels."""

    def __init__(self, simulation: Deployment, number: int, channels: tuple[str, ...]) -> None:
        self.number = number
        self.name: str = f"c_{number}"
        self.machine: Machine = Machine(simulation.options.client)
        self.channels: Channels = Channels(simulation, self, channels)
        self.asleep: bool = False
        self.polls: int = 0
        """Number of pending polls."""
        self._simulation = simulation
        self._opening: set[int] = set()
        self._sockets: dict[int, ClientSocket] = {}
        self._token = 0
        self._poll_number = 0
        self._next_wakeup: int | None = None

    def apply_input(self, name: str, **args: Any) -> None:
        """Give the state machine an input, and perform its commands."""
        # One draw per input, used or not: the commands do not shift the later draws.
        machine = self.machine.at(self._simulation.now, self._simulation.random.random())
        before = machine.mode
        getattr(machine, name)(**args)
        commands = machine.take_commands()
        if self._simulation.tracing:
            names = " ".join(
                f"{command.do}{'' if command.socket is None else command.socket}"
                for command in commands
            )
            self._simulation.log_line(
                f"{self.name} {name} {args or ''}: {before} → {machine.mode} {names}"
            )
        for command in commands:
            getattr(self, f"_do_{command.do}")(command)
        self._simulation.checker.check_state(self)
        self._set_timer()

    def socket_opened(self, number: int, connection: Connection) -> None:
        """Handle the opening of a socket."""
        if number not in self._opening:  # the machine has closed it during the opening
            self._simulation.servers.remove(connection)
        elif not self.asleep and connection.open:
            self._opening.remove(number)
            self._sockets[number] = ClientSocket(number, connection)
            self.apply_input("opened", socket=number)

    def socket_closed(self, number: int, code: int) -> None:
        """Handle the end of a socket."""
        if not self.asleep:
            self._opening.discard(number)
            self._remove_socket(number)
            self.apply_input("closed", socket=number, code=code)

    def socket_message(self, connection: Connection, message: Message) -> None:
        """Handle a message."""
        socket = self._sockets.get(connection.number)
        if socket is None or self.asleep:
            return
        self.apply_input("message_received", socket=socket.number)
        getattr(self, f"_on_{message[0]}")(socket, *message[1:])

    def sleep(self) -> None:
        """Suspend the client, as a laptop does; its sockets break unnoticed."""
        self.asleep = True
        for connection in self._simulation.servers.connections:
            if connection.client == self.number:
                connection.broken = True

    def wake(self, *, jumped: bool) -> None:
        """Resume the client; `jumped` is whether it notices a jump of the clock."""
        self.asleep = False
        self._poll_number += 1  # the answers of earlier polls are lost
        if jumped:
            self.apply_input("resumed")
        self.apply_input("tick")

    def _do_describe(self, command: Command) -> None:
        renew = command.do == "renew"
        self._simulation.network.request(self, "describe", renew, self._on_described)

    _do_renew = _do_describe

    def _do_open(self, command: Command) -> None:
        assert command.socket is not None
        self._opening.add(command.socket)
        self._simulation.network.open(self, command.socket)

    def _do_probe(self, command: Command) -> None:
        self._send(self._socket_of(command), "connect", self._token)

    def _do_token(self, command: Command) -> None:
        self._send(self._socket_of(command), "token", self._token)

    def _do_ping(self, command: Command) -> None:
        self._send(self._socket_of(command), "ping")

    def _do_close(self, command: Command) -> None:
        assert command.socket is not None
        self._opening.discard(command.socket)
        socket = self._sockets.get(command.socket)
        if socket:
            self._remove_socket(command.socket)
            self._simulation.servers.remove(socket.connection)

    def _do_poll(self, _: Command) -> None:
        self._poll_number += 1
        self.polls += 1
        number = self._poll_number
        positions = self.channels.positions

        def on_answer(status: int, answer: Any) -> None:
            if number == self._poll_number and not self.asleep:
                self.polls -= 1
                self._on_polled(status, answer, positions)

        self._simulation.network.request(self, "poll", (self._token, positions), on_answer)

    def _do_abandon(self, _: Command) -> None:
        self._poll_number += 1
        self.polls -= 1

    def _on_described(self, status: int, answer: Any) -> None:
        if self.asleep:
            return
        if status != OK:
            self.apply_input("descriptor_failed", status=status or None)
            return
        self._token, generation, _ = answer
        terms = Terms(generation=generation, max_age=self._simulation.max_age)
        self.apply_input("descriptor_received", terms=terms)

    def _on_polled(self, status: int, answer: Any, requested: Positions) -> None:
        if status != OK:
            self.apply_input(
                "poll_failed", status=status or None, retry_after=self._retry_after(status)
            )
            return
        answers, generation, healthy = answer
        moved = more = False
        for channel, one in answers.items():
            moved |= isinstance(one, Reset) or bool(one.events)
            more |= self.channels.apply_answer(channel, one, requested[channel])
        self.apply_input("poll_succeeded", moved=moved, more=more, ok=healthy)
        self.apply_input("generation", generation=generation)

    def _on_welcome(self, socket: ClientSocket, _: int) -> None:
        for channel, position in self.channels.positions.items():
            self.subscribe(socket, channel, position)

    def _on_answer(self, socket: ClientSocket, channel: str, answer: Answer) -> None:
        requested_after = socket.requests.pop(channel, None)
        if self.channels.apply_answer(channel, answer, requested_after):
            self.subscribe(socket, channel, self.channels.positions[channel])
        self._update_ready(socket)

    def _on_reset(self, socket: ClientSocket, channel: str, reset: Answer) -> None:
        if self.channels.apply_answer(channel, reset, socket.requests.get(channel)):
            self.subscribe(socket, channel, self.channels.positions[channel])

    def _on_joined(self, socket: ClientSocket) -> None:
        self._check_positions(socket)

    def _on_event(self, socket: ClientSocket, event: Any) -> None:
        self.apply_input("event_received")
        if self.channels.event_received(event):
            self._recover(socket, event.channel)

    def _on_heartbeat(
        self,
        socket: ClientSocket,
        offsets: dict[str, int],
        generation: int,
        ok: bool,  # noqa: FBT001
    ) -> None:
        for channel, offset in offsets.items():
            if self.channels.heartbeat_received(channel, offset):
                self._recover(socket, channel)
        self._on_status(socket, ok)
        self.apply_input("generation", generation=generation)

    def _on_pong(self, socket: ClientSocket) -> None:
        pass

    def _on_status(self, socket: ClientSocket, ok: bool) -> None:  # noqa: FBT001
        self.apply_input("health", socket=socket.number, ok=ok)

    def _on_drain(self, socket: ClientSocket, after: int, window: int) -> None:
        self.apply_input("drain", socket=socket.number, after=after, window=window)

    def subscribe(self, socket: ClientSocket, channel: str, position: Position | None) -> None:
        """Subscribe from a position, unless an answer is pending."""
        # The pending answer shows the gap too; a second request would only repeat it.
        if channel not in socket.requests:
            socket.requests[channel] = position
            self._send(socket, "subscribe", channel, position)

    def _recover(self, socket: ClientSocket, channel: str) -> None:
        if socket.connection.hosted:
            self._simulation.call_later(
                self._simulation.random.randint(*HOSTED_RECOVERY_MS), self._read_log, socket
            )
        else:
            self.subscribe(socket, channel, self.channels.positions[channel])

    def _check_positions(self, socket: ClientSocket) -> None:
        if self._sockets.get(socket.number) is socket:
            self._read_log(socket)
            self._simulation.call_later(self._check_interval_ms(), self._check_positions, socket)

    def _check_interval_ms(self) -> int:
        return round(HOSTED_CHECK_MS * self._simulation.random.uniform(0.8, 1.2))

    def _read_log(self, socket: ClientSocket) -> None:
        """Read the log over HTTP; repeat until it answers or the socket closes."""
        if self._sockets.get(socket.number) is not socket or self.asleep:
            return
        positions = self.channels.positions
        finished = False

        def on_answer(status: int, answer: Any) -> None:
            nonlocal finished
            if finished or self._sockets.get(socket.number) is not socket or self.asleep:
                return
            finished = True
            if status != OK:
                self._simulation.call_later(RETRY_MS, self._read_log, socket)
                return
            incomplete = [
                self.channels.apply_answer(name, one, positions[name])
                for name, one in answer[0].items()
            ]
            if any(incomplete):
                self._read_log(socket)
            socket.requests.clear()
            self._update_ready(socket)
            self.apply_input("generation", generation=answer[1])

        self._simulation.network.request(self, "poll", (self._token, positions), on_answer)
        self._simulation.call_later(TIMEOUT_MS, on_answer, 0, None)

    def _update_ready(self, socket: ClientSocket) -> None:
        if not socket.requests and not socket.ready:
            socket.ready = True
            self.apply_input("ready", socket=socket.number)

    def _remove_socket(self, number: int) -> None:
        """Remove a socket; its pending requests move to another socket or to the next poll."""
        socket = self._sockets.pop(number, None)
        if socket is None:
            return
        # Only a ready socket can take requests over; an opening one subscribes by itself.
        others = [other for other in self._sockets.values() if other.ready]
        for channel in socket.requests if others else self.channels.reducers:
            self.channels.reducers[channel].interrupted()
            for other in others:
                self._recover(other, channel)

    def _socket_of(self, command: Command) -> ClientSocket:
        assert command.socket is not None
        return self._sockets[command.socket]

    def _send(self, socket: ClientSocket, *message: Any) -> None:
        self._simulation.network.send_to_server(socket.connection, message)

    def _retry_after(self, status: int) -> int | None:
        delays = (None, 0, 2_000, 10_000)
        return self._simulation.random.choice(delays) if status == BUSY else None

    def _set_timer(self) -> None:
        """Schedule the next `tick`: one wake-up, moved only to an earlier time."""
        wake_at = self.machine.wake_at
        if wake_at is not None and (self._next_wakeup is None or wake_at < self._next_wakeup):
            self._next_wakeup = wake_at
            self._simulation.call_at(wake_at, self._on_timer, wake_at)

    def _on_timer(self, scheduled_at: int) -> None:
        if scheduled_at != self._next_wakeup:
            return
        self._next_wakeup = None
        if self.asleep:
            return
        if self.machine.wake_at is not None and self.machine.wake_at <= self._simulation.now:
            self.apply_input("tick")
        else:
            self._set_timer()
