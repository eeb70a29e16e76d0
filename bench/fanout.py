"""Fan-out: deliveries per second of one core, and the cost of each."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness import LoadClient, ServerProcess, cpu_seconds, run_server
from bench.peers import Peer, prepared_command


@dataclass(frozen=True)
class Shape:
    """Numbers of subscribers, channels and events of a measurement.

    Args:
        subscribers: number of connections, spread evenly over the channels.
        events: number of events in one turn of the loop.
        channels: number of channels; each event goes to a random channel.
        joins: whether the limit server joins the events of one turn into one write.

    """

    subscribers: int
    events: int = 1
    channels: int = 1
    joins: bool = False

    @property
    def command(self) -> str:
        """Command for the driver, which stays a few turns ahead of the load client."""
        window = 6 * self.events * max(1, self.subscribers // self.channels)
        return f"run {self.channels} {self.events} 200 {window} {int(self.joins)} 0"


@dataclass(frozen=True)
class Rate:
    """Deliveries per second, and the processor time of each in microseconds."""

    deliveries: float
    cpu_us: float


@contextmanager
def server_with_clients(
    peer: Peer, subscribers: int, channels: int, *options: object
) -> Iterator[tuple[ServerProcess, LoadClient]]:
    """Run a peer with its subscribers connected."""
    with (
        prepared_command(peer) as command,
        run_server(command) as server,
        tempfile.NamedTemporaryFile("w", suffix=".frames") as frames,
    ):
        lines = peer.lines(subscribers, channels)
        Path(frames.name).write_text("".join(f"{line}\n" for line in lines))
        arguments: list[Any] = ["--path", peer.path, "--frames", frames.name, *options]
        arguments += ["--ready", peer.ready] if peer.ready else []
        with server.load(subscribers, *arguments) as load:
            load.wait_until_ready(subscribers)
            yield server, load


def measure(peer: Peer, shape: Shape, *, warm: float = 0.4, seconds: float = 1.2) -> Rate:
    """Measure one run of `seconds`, after `warm` seconds of the same load."""
    with server_with_clients(peer, shape.subscribers, shape.channels, "--spin") as (server, load):
        server.send(shape.command)
        time.sleep(warm)
        start = _sample(server, load)
        time.sleep(seconds)
        end = _sample(server, load)
        if load.counters.lost:
            raise RuntimeError(f"{peer.name} lost {load.counters.lost} connections")
    duration, deliveries, cpu = (b - a for a, b in zip(start, end, strict=True))
    return Rate(deliveries / duration, 1e6 * cpu / max(1, deliveries))


def _sample(server: ServerProcess, load: LoadClient) -> tuple[float, float, float]:
    return time.monotonic(), load.counters.received, cpu_seconds(server.pid)
