"""Reconnection of ten thousand clients that lose their sockets at one moment (I6).

In no second do more than twice the mean number of clients reconnect.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from realtime_bridge.protocol.client.commands import Command, Options, Terms
from realtime_bridge.protocol.client.machine import Machine
from realtime_bridge.testing.simulation.violations import InvariantViolation

CLIENTS = 10_000
UPTIME_MS = 60_000
SECOND = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """Loss of all sockets, and the expected spread of the reconnections.

    Args:
        name: the description.
        spread: the period of the reconnections by I6, in seconds.
        code: the close code.
        failures: the number of failed attempts of each client before, at equal times.
        window: the period of a drain that was announced before, in milliseconds.

    """

    name: str
    spread: float
    code: int = 1006
    failures: int = 0
    window: int | None = None


STORMS = (
    Storm(name="a server crashes", spread=3),
    Storm(name="a server restarts", spread=5, code=1012),
    Storm(
        name="a server drains over 30 s, and crashes at once", spread=30, code=1012, window=30_000
    ),
    Storm(name="a second crash, after one failure of every client", spread=6, failures=1),
    Storm(name="a second crash, after two failures of every client", spread=12, failures=2),
    Storm(name="a second crash, at the cap of the back-off", spread=20, failures=3),
    Storm(name="a second crash, with the attempts at their slowest", spread=24, failures=4),
)


def reconnects(storm: Storm, *, seed: int, clients: int = CLIENTS) -> list[int]:
    """Return the time of each client's reconnection, in milliseconds after the loss."""
    random = Random(seed)  # noqa: S311 -- repeatable draws, no secrets
    return [_reconnect(storm, random) for _ in range(clients)]


def check_storm(storm: Storm, *, seed: int, clients: int = CLIENTS) -> None:
    """Check the spread of the reconnections (I6).

    Raises:
        InvariantViolation: over twice the mean number reconnect in one second.

    """
    times = reconnects(storm, seed=seed, clients=clients)
    busiest, most = Counter(_shifted(times)).most_common(1)[0]
    if most > 2 * clients / storm.spread:
        raise InvariantViolation(
            "I6",
            busiest * SECOND // 2,
            f"{storm.name}: {most} of {clients} reconnected in one second of {storm.spread}",
        )


def _shifted(times: Iterable[int]) -> Iterable[int]:
    """Yield the two half-shifted seconds that contain each time."""
    for time in times:
        # The busiest second can begin at any time: overlapping seconds miss fewer peaks.
        half = time * 2 // SECOND
        yield half
        yield half - 1


def _reconnect(storm: Storm, random: Random) -> int:
    machine = Machine(Options())
    now = 0
    _input(machine, random, now, "start")
    commands = _input(machine, random, now, "descriptor_received", Terms())
    for _ in range(storm.failures):
        _input(machine, random, now, "opened", _socket(commands))
        _input(machine, random, now, "closed", _socket(commands))
        now, commands = _until_open(machine, random, now)
    socket = _socket(commands)
    if not storm.failures:
        _input(machine, random, now, "opened", socket)
        _input(machine, random, now, "ready", socket)
        now += UPTIME_MS
        _input(machine, random, now, "message_received", socket)
        if storm.window is not None:
            _input(machine, random, now, "drain", socket, 0, storm.window)
    _input(machine, random, now, "closed", socket, storm.code)
    return _until_open(machine, random, now)[0] - now


def _input(machine: Machine, random: Random, now: int, name: str, *args: Any) -> list[Command]:
    """Give the machine one input, and return its commands."""
    machine.now, machine.draw = now, random.random()
    getattr(machine, name)(*args)
    return machine.take_commands()


def _until_open(machine: Machine, random: Random, now: int) -> tuple[int, list[Command]]:
    """Advance the time, with answered polls, until the client opens a socket."""
    while True:
        wake_at = machine.wake_at
        assert wake_at is not None
        now = max(now, wake_at)
        commands = _input(machine, random, now, "tick")
        open_commands = [command for command in commands if command.do == "open"]
        if open_commands:
            return now, open_commands
        if any(command.do == "poll" for command in commands):
            _input(machine, random, now, "poll_succeeded")


def _socket(commands: list[Command]) -> int:
    return next(
        command.socket
        for command in commands
        if command.do == "open" and command.socket is not None
    )
