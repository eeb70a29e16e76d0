"""Server processes, from the listening socket to the exit."""

import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
import uvicorn
from uvicorn.supervisors import Multiprocess

from realtime_bridge.cli.console import stderr
from realtime_bridge.cli.log_format import LogFormat, LogLevel, line_of, logging_config
from realtime_bridge.cli.serve_log import describe_log, prepared_log
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.urls import is_loopback
from realtime_bridge.protocol.wire.rpc import MAX_CALL_BYTES
from realtime_bridge.publishing import pipeline
from realtime_bridge.server import Bridge
from realtime_bridge.settings import Settings

TARGET = "REALTIME_SERVE_TARGET"
"""Environment variable that carries MODULE:BRIDGE to the worker processes."""

LAST_SECONDS = 3
"""Seconds for requests in progress after the drain, which reserves 5 of the grace period."""

Announce = Callable[[socket.socket], None]

BACKLOG = 2_048
"""Length of the accept queue: uvicorn's default."""


def run(host: str, port: int, *, workers: int, level: LogLevel, form: LogFormat) -> None:
    """Serve until a signal ends it.

    Args:
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        workers: number of processes.
        level: lowest level of the log lines.
        form: form of the log lines.

    Raises:
        ConfigurationError: the bridge cannot be loaded, or the address cannot be used.

    """
    settings = Settings.load()
    if settings.dev and not settings.dev_hosts and not is_loopback(host):
        raise ConfigurationError(
            f"--dev trusts every client that can connect, so --host {host} is refused: "
            "leave out --dev and set REALTIME_SECRET, or leave out --host, or name the clients in "
            "REALTIME_DEV_HOSTS"
        )
    options = _OPTIONS | {"log_config": logging_config(level, form)}
    announce = partial(_announce, form=form)
    with prepared_log(workers=workers, form=form):
        if workers == 1:
            _run_one(host, port, options, announce)
        else:
            _run_many(host, port, workers, options, announce)


def application() -> Bridge:
    """Return the bridge to serve; each worker process makes its own."""
    target = os.environ.get(TARGET)
    return _import_bridge(target) if target else Bridge.from_env()


_OPTIONS: dict[str, Any] = {
    "lifespan": "on",
    "access_log": False,
    "http": "realtime_bridge.server.connections.fast.http:HTTP",
    "ws": "realtime_bridge.server.connections.fast:WebSocket",
    "ws_max_size": 2 * MAX_CALL_BYTES,
    "ws_per_message_deflate": False,
    "timeout_graceful_shutdown": LAST_SECONDS,
}


class _Server(uvicorn.Server):
    """Uvicorn server that prints its address after the start.

    Args:
        config: uvicorn's configuration.
        announce: prints the address.

    """

    def __init__(self, config: uvicorn.Config, announce: Announce) -> None:
        super().__init__(config)
        self._announce_address = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            self._announce_address(sockets[0])


def _run_one(host: str, port: int, options: dict[str, Any], announce: Announce) -> None:
    bridge = application()
    listener = _bind(host, port)
    server = _Server(uvicorn.Config(bridge, **options), announce)
    _exit_cleanly_on_signals()
    server.run(sockets=[listener])
    if not server.started:
        raise typer.Exit(1)


def _exit_cleanly_on_signals() -> None:
    """Exit with 0 on the signals that uvicorn raises again after its shutdown."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))


def _run_many(
    host: str, port: int, workers: int, options: dict[str, Any], announce: Announce
) -> None:
    log = pipeline.log_class(Settings.load())
    if log and log.remote_access_via:
        raise ConfigurationError(
            f"--workers {workers} needs a shared log, and the memory log belongs to one process: "
            "use one worker, or set REALTIME_LOG=sqlite and REALTIME_SQLITE_PATH"
        )
    factory = f"{__name__}:{application.__name__}"
    with _bind(host, port) as listener:
        # Worker processes are started by exec, which closes descriptors that are not inheritable.
        listener.set_inheritable(True)
        listener.listen(BACKLOG)
        announce(listener)
        config = uvicorn.Config(factory, factory=True, workers=workers, **options)
        Multiprocess(config, sockets=[listener]).run()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    # A restarted server must not wait for the old connections in TIME_WAIT.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"Port {port} of {host} cannot be used ({error.strerror}): "
            "stop the process that listens there, or choose another port with --port"
        ) from error
    return listener


def _announce(listener: socket.socket, *, form: LogFormat) -> None:
    host, port = listener.getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    settings = Settings.load()
    mode = " (development: every client on this machine is trusted)" if settings.dev else ""
    place = f"http://{address}:{port}{settings.path}, log {describe_log(settings)}"
    stderr.print(line_of(f"serving {place}{mode}", form))


def _import_bridge(target: str) -> Bridge:
    module, _, name = target.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        bridge = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"{target!r} cannot be loaded ({error}): write MODULE:BRIDGE, like app:bridge"
        ) from error
    if not isinstance(bridge, Bridge):
        raise ConfigurationError(_no_bridge(target, bridge))
    return bridge


def _no_bridge(target: str, found: object) -> str:
    """Return the error for an object that is no bridge, with what to do for an application."""
    module = target.partition(":")[0]
    kind = f"{target!r} is a {type(found).__name__}, not a Bridge"
    if callable(found):
        return (
            f"{kind}. Run an application with its mounted bridge by `uvicorn {target} "
            f"--ws realtime_bridge.server.connections.fast:WebSocket`, or name its Bridge, like "
            f"{module}:bridge"
        )
    return f"{kind}: name the Bridge of your application, like {module}:bridge"
