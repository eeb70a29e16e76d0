"""The server: an ASGI application that carries events from the log to browsers."""

from realtime_bridge.server.auth.tokens import Principal
from realtime_bridge.server.bridge import Bridge
from realtime_bridge.server.http.request import Request

__all__ = ["Bridge", "Principal", "Request"]
