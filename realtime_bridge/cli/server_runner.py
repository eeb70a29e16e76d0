"""A server's processes, from their sockets to their end."""

import os
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
import uvicorn
from uvicorn.supervisors import Multiprocess

from realtime_bridge.cli.console import stderr
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.urls import is_loopback
from realtime_bridge.protocol.wire.rpc import MAX_CALL_BYTES
from realtime_bridge.publishing import pipeline
from realtime_bridge.server import Bridge
from realtime_bridge.settings import Settings

TARGET = "REALTIME_SERVE_TARGET"
"""How a worker process learns which bridge it serves."""

LAST_SECONDS = 3
"""How long requests under way may take once the clients were sent away; draining reserves 5."""

BACKLOG = 2_048
"""Connections that wait to be accepted: uvicorn's own default."""


def run(host: str, port: int, *, workers: int) -> None:
    """Serve until a signal ends it.

    Raises:
        ConfigurationError: this cannot be served, or not there.

    """
    if Settings.load().dev and not is_loopback(host):
        raise ConfigurationError(
            f"--dev trusts everybody who can connect, so it serves 127.0.0.1, not {host}: "
            "leave out --dev and set REALTIME_SECRET, or leave out --host"
        )
    if workers == 1:
        _run_one(host, port)
    else:
        _run_many(host, port, workers)


def application() -> Bridge:
    """Make the bridge to serve: in each worker process anew."""
    target = os.environ.get(TARGET)
    return _imported(target) if target else Bridge.from_env()


_OPTIONS: dict[str, Any] = {
    "lifespan": "on",
    "log_level": "warning",
    "access_log": False,
    "ws": "realtime_bridge.server.connections.fast:WebSocket",
    "ws_max_size": 2 * MAX_CALL_BYTES,
    "ws_per_message_deflate": False,
    "timeout_graceful_shutdown": LAST_SECONDS,
}


class _Server(uvicorn.Server):
    """Says where it is, once it is there."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            _announce(sockets[0])


def _run_one(host: str, port: int) -> None:
    bridge = application()
    listening = _bind(host, port)
    server = _Server(uvicorn.Config(bridge, **_OPTIONS))
    _end_well_on_signals()
    server.run(sockets=[listening])
    if not server.started:
        raise typer.Exit(1)


def _end_well_on_signals() -> None:
    """Let the signals that uvicorn raises again, once it has stopped, end us with success."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))


def _run_many(host: str, port: int, workers: int) -> None:
    log = pipeline.log_class(Settings.load())
    if log and log.remote_access_via:
        raise ConfigurationError(
            f"--workers {workers}: each process would have a log of its own in memory, and a "
            "client would hear only its own worker's events. Use one, or set REALTIME_LOG"
        )
    made_by = f"{__name__}:{application.__name__}"
    with _bind(host, port) as listening:
        listening.set_inheritable(True)
        listening.listen(BACKLOG)
        _announce(listening)
        config = uvicorn.Config(made_by, factory=True, workers=workers, **_OPTIONS)
        Multiprocess(config, sockets=[listening]).run()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigurationError(
            f"Port {port} of {host} cannot be used ({error.strerror}): "
            "stop what listens there, or choose another with --port"
        ) from error
    return listening


def _announce(listening: socket.socket) -> None:
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    settings = Settings.load()
    trusting = " (development: everybody on this machine is trusted)" if settings.dev else ""
    stderr.print(f"serving http://{shown}:{port}{settings.path}{trusting}")


def _imported(target: str) -> Bridge:
    module, _, name = target.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        bridge = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"{target!r} cannot be loaded ({error}): write MODULE:BRIDGE, like app:bridge"
        ) from error
    if not isinstance(bridge, Bridge):
        raise ConfigurationError(f"{target!r} is not a Bridge, but a {type(bridge).__name__}")
    return bridge
