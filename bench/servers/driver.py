"""Driver of every server of the bench: it publishes on command, at the load client's pace."""

import asyncio
import mmap
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

SECRET = "a secret of the bench: 32 bytes long at least"

PublishTurn = Callable[[list[tuple[str, dict[str, object]]]], Awaitable[None]]
"""Function that publishes the events of one loop turn: pairs of a channel and 200 bytes of data."""


@dataclass
class Run:
    """Command `run CHANNELS EVENTS BYTES WINDOW JOIN RATE`.

    Each turn publishes EVENTS to random channels, at most WINDOW deliveries ahead of the load
    client, or RATE turns a second if RATE is not 0. Only the limit server uses JOIN.
    """

    channels: int
    events: int
    bytes: int
    window: int
    rate: float


class Counters:
    """Counters of the load client, in shared memory."""

    def __init__(self, path: str) -> None:
        with Path(path).open("rb") as file:
            self._page = mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ)

    @property
    def received(self) -> int:
        return int.from_bytes(self._page[0:8], "little")

    @property
    def ready(self) -> int:
        return int.from_bytes(self._page[8:16], "little")


FIXED_BYTES = len('{"t":,"n":,"x":""}')


def make_data(number: int, size: int) -> dict[str, object]:
    """Return data of `size` bytes of JSON, with the current time."""
    now = time.monotonic_ns()
    return {"t": now, "n": number, "x": "x" * (size - FIXED_BYTES - len(f"{now}{number}"))}


class PublishDriver:
    """Publisher that obeys commands on standard input.

    Args:
        counters: path of the load client's counters.
        publish: publishes the events of a turn on this server.
        prefix: start of the channel names, before their number.

    """

    def __init__(self, counters: str, publish: PublishTurn, prefix: str = "bench-") -> None:
        self._counters_path = counters
        self._publish = publish
        self._prefix = prefix
        self._task: asyncio.Task[None] | None = None
        self.extra_commands: dict[str, Callable[..., Awaitable[None]]] = {}
        """Commands of one server alone; their arguments are numbers."""

    def start(self, port: int) -> None:
        """Print that the server listens, and read commands from standard input from now on."""
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._command)
        print(f"ready {port}", flush=True)

    def _command(self) -> None:
        words = sys.stdin.readline().split()
        if self._task:
            self._task.cancel()
            self._task = None
        if not words:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        elif words[0] in self.extra_commands:
            self._task = asyncio.ensure_future(self.extra_commands[words[0]](*map(int, words[1:])))
        elif words[0] == "run":
            channels, events, size, window, _, rate = words[1:]
            run = Run(int(channels), int(events), int(size), int(window), float(rate))
            self._task = asyncio.ensure_future(self._run(run))

    async def _run(self, run: Run) -> None:
        counters = Counters(self._counters_path)
        expected, members = counters.received, counters.ready // run.channels
        numbers = count(1)
        start, turns = time.monotonic(), 0
        while True:
            if run.rate:
                turns += 1
                await asyncio.sleep(start + turns / run.rate - time.monotonic())
            elif expected - counters.received > run.window:
                await asyncio.sleep(0)
                continue
            turn = [
                (
                    self._prefix + str(int(random.random() * run.channels)),
                    make_data(number, run.bytes),
                )
                for number in islice(numbers, run.events)
            ]
            await self._publish(turn)
            expected += members * run.events
            await asyncio.sleep(0)
