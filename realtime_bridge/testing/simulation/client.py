"""One client of a simulation: the real machine and reducers, in a shell of virtual time."""

from dataclasses import dataclass, field
from typing import Any

from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.client.commands import Command, Terms
from realtime_bridge.protocol.client.machine import Machine
from realtime_bridge.testing.simulation.channels import AGAIN_MS, LIMIT_MS, Channels
from realtime_bridge.testing.simulation.connection import OK, Answer, Connection, Message, Positions
from realtime_bridge.testing.simulation.deployment import Deployment

BUSY = 503
HOSTED_RECOVERY_MS = (500, 750)
HOSTED_CHECK_MS = 30_000


@dataclass(slots=True, eq=False)
class Link:
    """The client's end of a socket, and what it asked for: each channel once at a time."""

    number: int
    connection: Connection
    asked: dict[str, Position | None] = field(default_factory=dict)
    ready: bool = False


class Client:
    """A page that listens to its channels."""

    def __init__(self, simulation: Deployment, number: int, channels: tuple[str, ...]) -> None:
        self.number = number
        self.name = f"c_{number}"
        self.machine = Machine(simulation.options.client)
        self.channels = Channels(simulation, self, channels)
        self.asleep = False
        self.polls = 0
        """Polls in flight."""
        self._simulation = simulation
        self._opening: set[int] = set()
        self._links: dict[int, Link] = {}
        self._token = 0
        self._poll_number = 0
        self._wakes: int | None = None

    def give(self, name: str, **args: Any) -> None:
        """Tell the machine what happened, and do what it says."""
        machine = self.machine.at(self._simulation.now, self._simulation.random.random())
        before = machine.mode
        getattr(machine, name)(**args)
        commands = machine.take_commands()
        if self._simulation.telling:
            said = " ".join(
                f"{one.do}{'' if one.socket is None else one.socket}" for one in commands
            )
            self._simulation.tell(
                f"{self.name} {name} {args or ''}: {before} → {machine.mode} {said}"
            )
        for command in commands:
            getattr(self, f"_do_{command.do}")(command)
        self._simulation.checker.stepped(self)
        self._set_timer()

    def socket_opened(self, number: int, connection: Connection) -> None:
        """Take the news that a socket is open."""
        if number not in self._opening:
            self._simulation.servers.drop(connection)
        elif not self.asleep and connection.open:
            self._opening.remove(number)
            self._links[number] = Link(number, connection)
            self.give("opened", socket=number)

    def socket_closed(self, number: int, code: int) -> None:
        """Take the news that a socket is closed."""
        if not self.asleep:
            self._opening.discard(number)
            self._unlink(number)
            self.give("closed", socket=number, code=code)

    def socket_message(self, connection: Connection, message: Message) -> None:
        """Take a frame."""
        link = self._links.get(connection.number)
        if link is None or self.asleep:
            return
        self.give("message_received", socket=link.number)
        getattr(self, f"_on_{message[0]}")(link, *message[1:])

    def sleep(self) -> None:
        """Stop, as a laptop does: its sockets die unnoticed."""
        self.asleep = True
        for connection in self._simulation.servers.connections:
            if connection.client == self.number:
                connection.broken = True

    def wake(self, *, jumped: bool) -> None:
        """Go on."""
        self.asleep = False
        self._poll_number += 1
        if jumped:
            self.give("resumed")
        self.give("tick")

    def _do_describe(self, command: Command) -> None:
        renew = command.do == "renew"
        self._simulation.network.request(self, "describe", renew, self._on_described)

    _do_renew = _do_describe

    def _do_open(self, command: Command) -> None:
        assert command.socket is not None
        self._opening.add(command.socket)
        self._simulation.network.open(self, command.socket)

    def _do_probe(self, command: Command) -> None:
        self._send(self._link(command), "connect", self._token)

    def _do_token(self, command: Command) -> None:
        self._send(self._link(command), "token", self._token)

    def _do_ping(self, command: Command) -> None:
        self._send(self._link(command), "ping")

    def _do_close(self, command: Command) -> None:
        assert command.socket is not None
        self._opening.discard(command.socket)
        link = self._links.get(command.socket)
        if link:
            self._unlink(command.socket)
            self._simulation.servers.drop(link.connection)

    def _do_poll(self, _: Command) -> None:
        self._poll_number += 1
        self.polls += 1
        number = self._poll_number
        positions = self.channels.positions

        def answered(status: int, answer: Any) -> None:
            if number == self._poll_number and not self.asleep:
                self.polls -= 1
                self._on_polled(status, answer, positions)

        self._simulation.network.request(self, "poll", (self._token, positions), answered)

    def _do_abandon(self, _: Command) -> None:
        self._poll_number += 1
        self.polls -= 1

    def _on_described(self, status: int, answer: Any) -> None:
        if self.asleep:
            return
        if status != OK:
            self.give("descriptor_failed", status=status or None)
            return
        self._token, generation, _ = answer
        terms = Terms(generation=generation, max_age=self._simulation.max_age)
        self.give("descriptor_received", terms=terms)

    def _on_polled(self, status: int, answer: Any, asked: Positions) -> None:
        if status != OK:
            self.give("poll_failed", status=status or None, retry_after=self._retry_after(status))
            return
        answers, generation, well = answer
        moved = more = False
        for channel, one in answers.items():
            moved |= isinstance(one, Reset) or bool(one.events)
            more |= self.channels.take(channel, one, asked[channel])
        self.give("poll_succeeded", moved=moved, more=more)
        self.give("status", ok=well)
        self.give("generation", generation=generation)

    def _on_welcome(self, link: Link, _: int) -> None:
        for channel, position in self.channels.positions.items():
            self.subscribe(link, channel, position)

    def _on_answer(self, link: Link, channel: str, answer: Answer) -> None:
        asked = link.asked.pop(channel, None)
        if self.channels.take(channel, answer, asked):
            self.subscribe(link, channel, self.channels.positions[channel])
        self._note_ready(link)

    def _on_reset(self, link: Link, channel: str, reset: Answer) -> None:
        if self.channels.take(channel, reset, link.asked.get(channel)):
            self.subscribe(link, channel, self.channels.positions[channel])

    def _on_joined(self, link: Link) -> None:
        self._check_hosted(link)

    def _on_event(self, link: Link, event: Any) -> None:
        self.give("event_received")
        if self.channels.event(event):
            self._recover(link, event.channel)

    def _on_heartbeat(self, link: Link, offsets: dict[str, int], generation: int) -> None:
        for channel, offset in offsets.items():
            if self.channels.announced(channel, offset):
                self._recover(link, channel)
        self.give("generation", generation=generation)

    def _on_pong(self, link: Link) -> None:
        pass

    def _on_status(self, _: Link, ok: bool) -> None:  # noqa: FBT001
        self.give("status", ok=ok)

    def _on_drain(self, link: Link, after: int, window: int) -> None:
        self.give("drain", socket=link.number, after=after, window=window)

    def subscribe(self, link: Link, channel: str, position: Position | None) -> None:
        """Ask for what follows a position, unless we wait for an answer: it will show the gap."""
        if channel not in link.asked:
            link.asked[channel] = position
            self._send(link, "subscribe", channel, position)

    def _recover(self, link: Link, channel: str) -> None:
        if link.connection.hosted:
            self._simulation.after(
                self._simulation.random.randint(*HOSTED_RECOVERY_MS), self._ask_hosted, link
            )
        else:
            self.subscribe(link, channel, self.channels.positions[channel])

    def _check_hosted(self, link: Link) -> None:
        if self._links.get(link.number) is link:
            self._ask_hosted(link)
            self._simulation.after(self._check_ms(), self._check_hosted, link)

    def _check_ms(self) -> int:
        return round(HOSTED_CHECK_MS * self._simulation.random.uniform(0.8, 1.2))

    def _ask_hosted(self, link: Link) -> None:
        """Read the log over HTTP, again and again until it answers or the socket is gone."""
        if self._links.get(link.number) is not link or self.asleep:
            return
        positions = self.channels.positions
        done = False

        def answered(status: int, answer: Any) -> None:
            nonlocal done
            if done or self._links.get(link.number) is not link or self.asleep:
                return
            done = True
            if status != OK:
                self._simulation.after(AGAIN_MS, self._ask_hosted, link)
                return
            said = answer[0].items()
            again = [self.channels.take(name, one, positions[name]) for name, one in said]
            if any(again):
                self._ask_hosted(link)
            link.asked.clear()
            self._note_ready(link)
            self.give("generation", generation=answer[1])

        self._simulation.network.request(self, "poll", (self._token, positions), answered)
        self._simulation.after(LIMIT_MS, answered, 0, None)

    def _note_ready(self, link: Link) -> None:
        if not link.asked and not link.ready:
            link.ready = True
            self.give("ready", socket=link.number)

    def _unlink(self, number: int) -> None:
        """Forget a socket; what was asked on it is asked on another, or by the next poll."""
        link = self._links.pop(number, None)
        if link is None:
            return
        others = [other for other in self._links.values() if other.ready]
        for channel in link.asked if others else self.channels.reducers:
            self.channels.reducers[channel].interrupted()
            for other in others:
                self._recover(other, channel)

    def _link(self, command: Command) -> Link:
        assert command.socket is not None
        return self._links[command.socket]

    def _send(self, link: Link, *message: Any) -> None:
        self._simulation.network.up(link.connection, message)

    def _retry_after(self, status: int) -> int | None:
        wishes = (None, 0, 2_000, 10_000)
        return self._simulation.random.choice(wishes) if status == BUSY else None

    def _set_timer(self) -> None:
        """See that `tick` comes in time: one wake-up, moved only to an earlier time."""
        wake_at = self.machine.wake_at
        if wake_at is not None and (self._wakes is None or wake_at < self._wakes):
            self._wakes = wake_at
            self._simulation.at(wake_at, self._wake_up, wake_at)

    def _wake_up(self, planned: int) -> None:
        if planned != self._wakes:
            return
        self._wakes = None
        if self.asleep:
            return
        if self.machine.wake_at is not None and self.machine.wake_at <= self._simulation.now:
            self.give("tick")
        else:
            self._set_timer()
