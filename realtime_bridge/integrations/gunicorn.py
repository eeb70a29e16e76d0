"""Gunicorn: a worker class that serves the bridge's sockets as `realtime-bridge serve` does.

gunicorn -k realtime_bridge.integrations.gunicorn.Worker -w 4 main:app
"""

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:  # the package has no types
    _UvicornWorker = object
else:
    from uvicorn_worker import UvicornWorker as _UvicornWorker


class Worker(_UvicornWorker):
    """Worker of uvicorn with the fast WebSocket of the bridge, and its limits of requests."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "auto",
        "http": "realtime_bridge.server.connections.fast.http:HTTP",
        "ws": "realtime_bridge.server.connections.fast:WebSocket",
        "ws_per_message_deflate": False,
    }
