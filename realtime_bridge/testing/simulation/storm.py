"""Ten thousand clients lose their sockets in one moment: I6, how they come back.

No second may see over twice the mean rate of the window in which they reconnect.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from realtime_bridge.protocol.commands import Command, Options, Terms
from realtime_bridge.protocol.machine import Machine
from realtime_bridge.testing.simulation.witness import ViolationError

CLIENTS = 10_000
LIVED_MS = 60_000
SECOND = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """How they lost their sockets.

    Args:
        name: a sentence.
        code: what they were closed with.
        failures: attempts of each that had failed before, in lockstep.
        window: what a drain had announced before, in milliseconds.

    """

    name: str
    code: int = 1006
    failures: int = 0
    window: int | None = None


STORMS = (
    Storm(name="a server dies"),
    Storm(name="a server restarts", code=1012),
    Storm(name="a server drains over 30 s, and dies at once", code=1012, window=30_000),
    *(Storm(name=f"it dies again after {n} failures of all", failures=n) for n in range(1, 8)),
)


def reconnects(storm: Storm, *, seed: int, clients: int = CLIENTS) -> list[int]:
    """Return after how many milliseconds each client opens a socket again."""
    random = Random(seed)  # noqa: S311 -- chance, not secrecy
    return [_reconnect(storm, random) for _ in range(clients)]


def check_storm(storm: Storm, *, seed: int, clients: int = CLIENTS) -> None:
    """Check I6.

    Raises:
        ViolationError: a second sees over twice the mean rate.

    """
    times = reconnects(storm, seed=seed, clients=clients)
    first, last = min(times), max(times)
    seconds = max(1.0, (last - first) / SECOND)
    busiest, most = Counter(_shifted(times, first)).most_common(1)[0]
    if most > 2 * clients / seconds:
        raise ViolationError(
            "I6",
            first + busiest * SECOND // 2,
            f"{storm.name}: {most} of {clients} clients came back in one second of {seconds:.1f}",
        )


def _shifted(times: Iterable[int], first: int) -> Iterable[int]:
    """Count each time in both of the half-shifted seconds that it is in."""
    for time in times:
        half = (time - first) * 2 // SECOND
        yield half
        yield half - 1


def _reconnect(storm: Storm, random: Random) -> int:
    machine = Machine(Options())
    now = 0
    machine.at(now, random.random()).start()
    commands = machine.at(now, random.random()).described(Terms())
    for _ in range(storm.failures):
        now = _opened(machine, random, now, commands)
        commands = machine.at(now, random.random()).closed(_socket(commands))
        now, commands = _until_open(machine, random, now)
    socket = _socket(commands)
    if not storm.failures:
        machine.at(now, random.random()).opened(socket)
        machine.at(now, random.random()).ready(socket)
        now += LIVED_MS
        machine.at(now, random.random()).frame(socket)
        if storm.window is not None:
            machine.at(now, random.random()).drain(socket, 0, storm.window)
    machine.at(now, random.random()).closed(socket, storm.code)
    return _until_open(machine, random, now)[0] - now


def _opened(machine: Machine, random: Random, now: int, commands: list[Command]) -> int:
    machine.at(now, random.random()).opened(_socket(commands))
    return now


def _until_open(machine: Machine, random: Random, now: int) -> tuple[int, list[Command]]:
    """Let time pass, with polls that are answered, until a socket is opened."""
    while True:
        wake_at = machine.wake_at
        assert wake_at is not None
        now = max(now, wake_at)
        commands = machine.at(now, random.random()).tick()
        opened = [command for command in commands if command.do == "open"]
        if opened:
            return now, opened
        if any(command.do == "poll" for command in commands):
            machine.at(now, random.random()).polled()


def _socket(commands: list[Command]) -> int:
    return next(one.socket for one in commands if one.do == "open" and one.socket is not None)
