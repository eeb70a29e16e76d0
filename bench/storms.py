"""Thousands of clients at once: idle, connecting, coming back, polling."""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.fanout import connected
from bench.peers import OURS, started
from bench.servers.driven import SECRET
from bench.site import Load, Served, cpu_seconds, resident_bytes, served, wait_for
from realtime_bridge.server.auth.tokens import Tokens

READY = '"type":"subscribed"'
CONNECT = '{"type":"connect","token":"%s","nonce":"n"}'
SUBSCRIBE = '{"type":"subscribe","channel":"%s"}'
COME_BACK = '{"type":"subscribe","channel":"%s","position":{"epoch":"%s","offset":0}}'


@contextmanager
def ours() -> Iterator[Served]:
    """Run our server."""
    with started(OURS) as command, served(command) as server:
        yield server


@contextmanager
def saying(server: Served, lines: Sequence[str], *options: object) -> Iterator[Load]:
    """Open a connection for each of these lines."""
    with (
        tempfile.NamedTemporaryFile("w", suffix=".say") as say,
        tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="bench-") as page,
    ):
        Path(say.name).write_text("".join(f"{line}\n" for line in lines))
        words = ("--say", say.name, *options)
        with server.load(len(lines), *words, page=Path(page.name)) as load:
            yield load


def private(count: int) -> list[str]:
    """Let each connection subscribe to its user's own channel."""
    tokens = Tokens(SECRET, issuer="realtime")
    return [
        f"{CONNECT % tokens.issue(f'u{n}')}\x1e{SUBSCRIBE % f'user-u{n}'}" for n in range(count)
    ]


def sockets(*options: object) -> tuple[object, ...]:
    """Return what opening sockets of ours takes."""
    return ("--path", OURS.path, "--ready", READY, *options)


def idle_bytes(connections: int) -> float:
    """Return what one idle connection with one private subscription costs the server."""
    with ours() as server:
        with saying(server, private(50), *sockets()) as load:  # what is made once is made now
            load.wait_until_ready(50)
        time.sleep(0.5)
        before = resident_bytes(server.pid)
        with saying(server, private(connections), *sockets()) as load:
            load.wait_until_ready(connections)
            time.sleep(0.5)
            return (resident_bytes(server.pid) - before) / connections


@dataclass(frozen=True)
class Storm:
    """How many connections a second were served, and how late others' events were meanwhile."""

    rate: float
    cpu_us: float
    others_p99_ms: float | None = None


def connecting(connections: int) -> Storm:
    """Measure clients that connect, authenticate and subscribe."""
    with ours() as server:
        return _storm(server, private(connections))


def coming_back(connections: int, events: int = 10) -> Storm:
    """Measure clients that come back to channels on which they missed some events."""
    tokens = Tokens(SECRET, issuer="realtime")
    watchers = 100
    with connected(OURS, watchers, 1, "--clock") as (server, others):
        server.tell(f"fill {connections} {events}")
        assert server.process.stdout
        epochs = json.loads(server.process.stdout.readline())
        lines = [
            CONNECT % tokens.issue(f"back{n}", channels=["bench-*"])
            + "\x1e"
            + COME_BACK % (f"bench-{n}", epoch)
            for n, epoch in enumerate(epochs)
        ]
        server.tell("run 1 1 200 0 0 50")
        time.sleep(0.3)
        others.report()
        storm = _storm(server, lines)
        return Storm(storm.rate, storm.cpu_us, others.report()["each"]["p99"] / 1_000)


def _storm(server: Served, lines: Sequence[str]) -> Storm:
    cpu, begun = cpu_seconds(server.pid), time.monotonic()
    with saying(server, lines, *sockets("--at-once", 256)) as load:
        while load.counters.ready < len(lines):
            load.wait_until_ready(len(lines))
        took = time.monotonic() - begun
        return Storm(len(lines) / took, 1e6 * (cpu_seconds(server.pid) - cpu) / len(lines))


def polling(connections: int, seconds: float) -> Storm:
    """Measure polls of one channel on which nothing moves."""
    with ours() as server:
        tokens = Tokens(SECRET, issuer="realtime")
        lines = [
            _poll(server.port, tokens.issue(f"u{n}", channels=["bench-*"]))
            for n in range(connections)
        ]
        with saying(server, lines, "--http") as load:
            wait_for(lambda: load.counters.received > connections, "the first polls")
            begun, cpu = time.monotonic(), cpu_seconds(server.pid)
            before = load.counters.received
            time.sleep(seconds)
            answered = load.counters.received - before
            took, cpu = time.monotonic() - begun, cpu_seconds(server.pid) - cpu
            if load.counters.refused or load.counters.lost:
                raise RuntimeError("polls were refused")
            return Storm(answered / took, 1e6 * cpu / answered)


def _poll(port: int, token: str) -> str:
    body = '{"positions":{"bench-0":null}}'
    lines = [
        "POST /realtime/poll HTTP/1.1",
        f"host: 127.0.0.1:{port}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"authorization: Bearer {token}",
    ]
    return "\x1e".join((*lines, "", body))


def stalled(subscribers: int, seconds: float) -> dict[str, Any]:
    """Compare everybody's latency without and with one reader that reads nothing at all."""
    results: dict[str, Any] = {}
    for name, readers in (("without", 0), ("with", 1)):
        with connected(OURS, subscribers, 1, "--clock", "--stalled", readers) as (server, load):
            server.tell("run 1 1 2000 0 0 100")
            time.sleep(0.5)
            load.report()
            before = resident_bytes(server.pid)
            time.sleep(seconds)
            results[name] = load.report()["each"]["p99"] / 1_000
            results[f"bytes_{name}"] = resident_bytes(server.pid) - before
    return results
