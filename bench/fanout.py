"""ChannelFanout-out: how many deliveries a second one core makes, and what each costs."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers import Peer, started
from bench.site import Load, Served, cpu_seconds, served


@dataclass(frozen=True)
class Shape:
    """What is published to whom.

    Args:
        subscribers: how many connections, spread evenly over the channels.
        events: how many in one turn of the loop.
        channels: each event goes to a random one.
        joins: whether the limit server joins what one turn has into one write.

    """

    subscribers: int
    events: int = 1
    channels: int = 1
    joins: bool = False

    @property
    def command(self) -> str:
        """What the driver is told: it stays a few turns ahead of the load client."""
        window = 6 * self.events * max(1, self.subscribers // self.channels)
        return f"run {self.channels} {self.events} 200 {window} {int(self.joins)} 0"


@dataclass(frozen=True)
class Rate:
    """Deliveries a second, and microseconds of the server's processor for each."""

    deliveries: float
    cpu_us: float


@contextmanager
def connected(
    peer: Peer, subscribers: int, channels: int, *options: object
) -> Iterator[tuple[Served, Load]]:
    """Run a peer with its subscribers connected."""
    with (
        started(peer) as command,
        served(command) as server,
        tempfile.NamedTemporaryFile("w", suffix=".say") as say,
    ):
        lines = peer.lines(subscribers, channels)
        Path(say.name).write_text("".join(f"{line}\n" for line in lines))
        words: list[Any] = ["--path", peer.path, "--say", say.name, *options]
        words += ["--ready", peer.ready] if peer.ready else []
        with server.load(subscribers, *words) as load:
            load.wait_until_ready(subscribers)
            yield server, load


def measure(peer: Peer, shape: Shape, *, warm: float = 0.4, seconds: float = 1.2) -> Rate:
    """Measure one run."""
    with connected(peer, shape.subscribers, shape.channels, "--spin") as (server, load):
        server.tell(shape.command)
        time.sleep(warm)
        begun = _sample(server, load)
        time.sleep(seconds)
        ended = _sample(server, load)
        if load.counters.lost:
            raise RuntimeError(f"{peer.name} lost {load.counters.lost} connections")
    took, deliveries, cpu = (b - a for a, b in zip(begun, ended, strict=True))
    return Rate(deliveries / took, 1e6 * cpu / max(1, deliveries))


def _sample(server: Served, load: Load) -> tuple[float, float, float]:
    return time.monotonic(), load.counters.received, cpu_seconds(server.pid)
