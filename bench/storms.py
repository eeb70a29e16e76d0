"""Thousands of clients at once: idle, connecting, reconnecting, polling."""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.fanout import server_with_clients
from bench.harness import (
    LoadClient,
    ServerProcess,
    cpu_seconds,
    resident_bytes,
    run_server,
    wait_for,
)
from bench.peers import OURS, prepared_command
from bench.reference import reference_us
from bench.servers.driver import SECRET
from realtime_bridge.server.auth.tokens import Tokens

READY = '"type":"subscribed"'
CONNECT = '{"type":"connect","token":"%s","nonce":"n"}'
SUBSCRIBE = '{"type":"subscribe","channel":"%s"}'
POSITION = '{"epoch":"%s","offset":%d}'
RESUME = '{"type":"subscribe","channel":"%s","position":{"epoch":"%s","offset":0}}'


@contextmanager
def our_server() -> Iterator[ServerProcess]:
    """Run the server of realtime_bridge."""
    with prepared_command(OURS) as command, run_server(command) as server:
        yield server


@contextmanager
def load_client(
    server: ServerProcess, lines: Sequence[str], *options: object
) -> Iterator[LoadClient]:
    """Open a connection for each line of frames."""
    with (
        tempfile.NamedTemporaryFile("w", suffix=".frames") as frames,
        tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="bench-") as page,
    ):
        Path(frames.name).write_text("".join(f"{line}\n" for line in lines))
        arguments = ("--frames", frames.name, *options)
        with server.load(len(lines), *arguments, page=Path(page.name)) as load:
            yield load


def private_subscriptions(count: int) -> list[str]:
    """Return the frames of connections that subscribe to the channel of their user."""
    tokens = Tokens(SECRET, issuer="realtime")
    return [
        f"{CONNECT % tokens.issue(f'u{n}')}\x1e{SUBSCRIBE % f'user-u{n}'}" for n in range(count)
    ]


def socket_options(*options: object) -> tuple[object, ...]:
    """Return the options of the load client for our server."""
    return ("--path", OURS.path, "--ready", READY, *options)


@dataclass(frozen=True)
class Storm:
    """Connections per second, and the latency of other clients' events meanwhile.

    The reference is the processor time of a Python call on this machine at the same time.
    """

    rate: float
    cpu_us: float
    others_p99_ms: float | None = None
    reference_us: float | None = None


def connecting(connections: int) -> Storm:
    """Measure clients that connect, authenticate and subscribe."""
    with our_server() as server:
        return _storm(server, private_subscriptions(connections))


def reconnecting(connections: int, events: int = 10) -> Storm:
    """Measure clients that reconnect and recover missed events."""
    tokens = Tokens(SECRET, issuer="realtime")
    watchers = 100
    with server_with_clients(OURS, watchers, 1, "--clock") as (server, others):
        server.send(f"fill {connections} {events}")
        assert server.process.stdout
        epochs = json.loads(server.process.stdout.readline())
        lines = [
            CONNECT % tokens.issue(f"back{n}", channels=["bench-*"])
            + "\x1e"
            + RESUME % (f"bench-{n}", epoch)
            for n, epoch in enumerate(epochs)
        ]
        server.send("run 1 1 200 0 0 50")
        time.sleep(0.3)
        others.report()
        storm = _storm(server, lines)
        return replace(storm, others_p99_ms=others.report()["each"]["p99"] / 1_000)


def _storm(server: ServerProcess, lines: Sequence[str]) -> Storm:
    cpu, start = cpu_seconds(server.pid), time.monotonic()
    with load_client(server, lines, *socket_options("--at-once", 256)) as load:
        while load.counters.ready < len(lines):
            load.wait_until_ready(len(lines))
        duration = time.monotonic() - start
        cpu_us = 1e6 * (cpu_seconds(server.pid) - cpu) / len(lines)
        return Storm(len(lines) / duration, cpu_us, reference_us=reference_us())


def polling(connections: int, seconds: float, missed: int | None = 0) -> Storm:
    """Measure polls of one channel with ten events.

    Args:
        connections: number of clients, each of which polls again after each answer.
        seconds: duration.
        missed: events after the client's position; None polls without a position.

    """
    with our_server() as server:
        tokens = Tokens(SECRET, issuer="realtime")
        server.send("fill 1 10")
        assert server.process.stdout
        (epoch,) = json.loads(server.process.stdout.readline())
        position = "null" if missed is None else POSITION % (epoch, 10 - missed)
        lines = [
            _poll(server.port, tokens.issue(f"u{n}", channels=["bench-*"]), position)
            for n in range(connections)
        ]
        with load_client(server, lines, "--http") as load:
            wait_for(lambda: load.counters.received > connections, "the first polls")
            start, cpu = time.monotonic(), cpu_seconds(server.pid)
            before = load.counters.received
            time.sleep(seconds)
            answers = load.counters.received - before
            duration, cpu = time.monotonic() - start, cpu_seconds(server.pid) - cpu
            if load.counters.refused or load.counters.lost:
                raise RuntimeError("polls failed: see the output of the server")
            return Storm(answers / duration, 1e6 * cpu / answers, reference_us=reference_us())


def _poll(port: int, token: str, position: str) -> str:
    body = f'{{"positions":{{"bench-0":{position}}}}}'
    lines = [
        "POST /realtime/poll HTTP/1.1",
        f"host: 127.0.0.1:{port}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"authorization: Bearer {token}",
    ]
    return "\x1e".join((*lines, "", body))


def stalled(subscribers: int, seconds: float) -> dict[str, Any]:
    """Compare the latency of all subscribers without and with a reader that reads nothing."""
    results: dict[str, Any] = {}
    for name, readers in (("without", 0), ("with", 1)):
        with server_with_clients(OURS, subscribers, 1, "--clock", "--stalled", readers) as (
            server,
            load,
        ):
            server.send("run 1 1 2000 0 0 100")
            time.sleep(0.5)
            load.report()
            before = resident_bytes(server.pid)
            time.sleep(seconds)
            results[name] = load.report()["each"]["p99"] / 1_000
            results[f"bytes_{name}"] = resident_bytes(server.pid) - before
    return results
