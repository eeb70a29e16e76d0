"""Gunicorn: a worker class that serves the bridge's sockets as `realtime-bridge serve` does.

gunicorn -k realtime_bridge.integrations.gunicorn.Worker -w 4 main:app
"""

from typing import Any, ClassVar

from uvicorn_worker import UvicornWorker


class Worker(UvicornWorker):  # type: ignore[misc]  # it has no types
    """Worker of uvicorn with the fast WebSocket of the bridge."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "auto",
        "http": "auto",
        "ws": "realtime_bridge.server.connections.fast:WebSocket",
        "ws_per_message_deflate": False,
    }
