"""Ten thousand clients lose their sockets in one moment: I6, how they come back.

No second may see over twice the mean rate of the window in which they reconnect.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from realtime_bridge.protocol.client.commands import Command, Options, Terms
from realtime_bridge.protocol.client.machine import Machine
from realtime_bridge.testing.simulation.invariant_checker import InvariantViolation

CLIENTS = 10_000
LIVED_MS = 60_000
SECOND = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """How they lost their sockets.

    Args:
        name: a sentence.
        spread: the seconds over which they shall come back: what the rule names.
        code: what they were closed with.
        failures: attempts of each that had failed before, in lockstep.
        window: what a drain had announced before, in milliseconds.

    """

    name: str
    spread: float
    code: int = 1006
    failures: int = 0
    window: int | None = None


STORMS = (
    Storm(name="a server dies", spread=3),
    Storm(name="a server restarts", spread=5, code=1012),
    Storm(name="a server drains over 30 s, and dies at once", spread=30, code=1012, window=30_000),
    Storm(name="it dies again, after a failure of all", spread=6, failures=1),
    Storm(name="it dies again, after two failures of all", spread=12, failures=2),
    Storm(name="it dies again, at the cap of the back-off", spread=20, failures=3),
    Storm(name="it dies again, when all are tired", spread=24, failures=4),
)


def reconnects(storm: Storm, *, seed: int, clients: int = CLIENTS) -> list[int]:
    """Return after how many milliseconds each client opens a socket again."""
    random = Random(seed)  # noqa: S311 -- chance, not secrecy
    return [_reconnect(storm, random) for _ in range(clients)]


def check_storm(storm: Storm, *, seed: int, clients: int = CLIENTS) -> None:
    """Check I6.

    Raises:
        InvariantViolation: a second sees over twice the mean rate.

    """
    times = reconnects(storm, seed=seed, clients=clients)
    busiest, most = Counter(_shifted(times)).most_common(1)[0]
    if most > 2 * clients / storm.spread:
        raise InvariantViolation(
            "I6",
            busiest * SECOND // 2,
            f"{storm.name}: {most} of {clients} clients came back in one second of {storm.spread}",
        )


def _shifted(times: Iterable[int]) -> Iterable[int]:
    """Count each time in both of the half-shifted seconds that it is in."""
    for time in times:
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
        now += LIVED_MS
        _input(machine, random, now, "message_received", socket)
        if storm.window is not None:
            _input(machine, random, now, "drain", socket, 0, storm.window)
    _input(machine, random, now, "closed", socket, storm.code)
    return _until_open(machine, random, now)[0] - now


def _input(machine: Machine, random: Random, now: int, name: str, *args: Any) -> list[Command]:
    """Give the machine one input, and return its commands."""
    getattr(machine.at(now, random.random()), name)(*args)
    return machine.take_commands()


def _until_open(machine: Machine, random: Random, now: int) -> tuple[int, list[Command]]:
    """Let time pass, with polls that are answered, until a socket is opened."""
    while True:
        wake_at = machine.wake_at
        assert wake_at is not None
        now = max(now, wake_at)
        commands = _input(machine, random, now, "tick")
        opened = [command for command in commands if command.do == "open"]
        if opened:
            return now, opened
        if any(command.do == "poll" for command in commands):
            _input(machine, random, now, "poll_succeeded")


def _socket(commands: list[Command]) -> int:
    return next(one.socket for one in commands if one.do == "open" and one.socket is not None)
