"""WSGI: the bridge in the process of Flask, Django or another application, without its sockets.

from realtime_bridge.integrations.wsgi import wsgi
from realtime_bridge.server import Bridge

app.wsgi_app = wsgi(app.wsgi_app, Bridge.from_env())  # Flask's
"""

import asyncio
import atexit
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from realtime_bridge.backend.loop_thread import LoopThread
from realtime_bridge.backend.native_threads import wait_for
from realtime_bridge.errors import ExtraNotInstalledError

try:
    import a2wsgi as _a2wsgi
except ModuleNotFoundError as _error:
    raise ExtraNotInstalledError(
        "A bridge in a WSGI server", missing="a2wsgi", extra="wsgi"
    ) from _error

if TYPE_CHECKING:
    from realtime_bridge.server import Bridge

STOP_SECONDS = 5.0


def wsgi(application: WSGIApplication, bridge: "Bridge") -> WSGIApplication:
    """Return the WSGI application with the bridge at `REALTIME_PATH`, without its sockets.

    Clients poll or use a hosted provider; for sockets run `realtime-bridge serve` beside it. In
    each process the bridge starts with its first request, on an event loop in a thread.
    """
    bridge_application = _ThreadedBridge(bridge)

    def route(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        is_bridge = environ["PATH_INFO"].startswith(f"{bridge.path}/")
        return (bridge_application if is_bridge else application)(environ, start_response)

    return route


class _ThreadedBridge:
    """Bridge as a WSGI application, on its own event loop in a thread."""

    def __init__(self, bridge: "Bridge") -> None:
        self._bridge = bridge
        self._lock = threading.Lock()
        self._wsgi_application: WSGIApplication | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == f"{self._bridge.path}/sse":
            start_response("501 Not Implemented", [("Content-Type", "text/plain")])
            return [
                b"A stream would occupy a worker of this WSGI server permanently: poll instead\n"
            ]
        with self._lock:
            self._wsgi_application = self._wsgi_application or self._start_loop()
        return self._wsgi_application(environ, start_response)

    def _start_loop(self) -> WSGIApplication:
        # The thread belongs to this process: it starts after the server has forked its workers.
        loop = LoopThread("realtime-bridge-wsgi").loop
        atexit.register(self._stop, loop)
        return cast("WSGIApplication", _a2wsgi.ASGIMiddleware(cast("Any", self._bridge), loop=loop))

    def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        stop = self._bridge.__aexit__(None, None, None)
        # Python's own wait would block the whole process beside greenlets.
        wait_for(asyncio.run_coroutine_threadsafe(stop, loop), STOP_SECONDS)
