"""What every server of the bench does: publish on command, as fast as the load client keeps up."""

import asyncio
import mmap
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

SECRET = "a secret of the bench, 32 bytes long at least"

PublishTurn = Callable[[list[tuple[str, dict[str, object]]]], Awaitable[None]]
"""Publishes what one loop turn has: pairs of a channel and 200 bytes of data."""


@dataclass
class Run:
    """The command `run CHANNELS EVENTS BYTES WINDOW JOIN RATE`.

    EVENTS a turn, to random ones of CHANNELS; at most WINDOW deliveries ahead of the load client,
    or RATE turns a second when that is not 0. JOIN is the limit server's affair.
    """

    channels: int
    events: int
    bytes: int
    window: int
    rate: float


class Counters:
    """The load client's counters, in memory that it shares."""

    def __init__(self, path: str) -> None:
        with Path(path).open("rb") as file:
            self._page = mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ)

    @property
    def received(self) -> int:
        return int.from_bytes(self._page[0:8], "little")

    @property
    def ready(self) -> int:
        return int.from_bytes(self._page[8:16], "little")


FIXED = len('{"t":,"n":,"x":""}')


def made(number: int, size: int) -> dict[str, object]:
    """Make data of `size` bytes of JSON that tells when it was made."""
    now = time.monotonic_ns()
    return {"t": now, "n": number, "x": "x" * (size - FIXED - len(f"{now}{number}"))}


class ClientRunner:
    """Publishes while it is told to.

    Args:
        counters: the path of the load client's counters.
        publish: what publishes a turn's events on this server.
        prefix: what the channels are called, before their number.

    """

    def __init__(self, counters: str, publish: PublishTurn, prefix: str = "bench-") -> None:
        self._counters_path = counters
        self._publish = publish
        self._prefix = prefix
        self._running: asyncio.Task[None] | None = None
        self.more: dict[str, Callable[..., Awaitable[None]]] = {}
        """Commands that only one server knows; their words are numbers."""

    def attend(self, port: int) -> None:
        """Say that the server listens, and take commands from standard input from now on."""
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._command)
        print(f"ready {port}", flush=True)

    def _command(self) -> None:
        words = sys.stdin.readline().split()
        if self._running:
            self._running.cancel()
            self._running = None
        if not words:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        elif words[0] in self.more:
            self._running = asyncio.ensure_future(self.more[words[0]](*map(int, words[1:])))
        elif words[0] == "run":
            channels, events, size, window, _, rate = words[1:]
            run = Run(int(channels), int(events), int(size), int(window), float(rate))
            self._running = asyncio.ensure_future(self._run(run))

    async def _run(self, run: Run) -> None:
        counters = Counters(self._counters_path)
        expected, members = counters.received, counters.ready // run.channels
        numbers = count(1)
        begun, turns = time.monotonic(), 0
        while True:
            if run.rate:
                turns += 1
                await asyncio.sleep(begun + turns / run.rate - time.monotonic())
            elif expected - counters.received > run.window:
                await asyncio.sleep(0)
                continue
            turn = [
                (self._prefix + str(int(random.random() * run.channels)), made(number, run.bytes))
                for number in islice(numbers, run.events)
            ]
            await self._publish(turn)
            expected += members * run.events
            await asyncio.sleep(0)
