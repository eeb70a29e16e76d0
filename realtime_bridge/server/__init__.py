"""Server: an ASGI application that delivers events from the log to browsers."""

from importlib.util import find_spec

from realtime_bridge.errors import ExtraNotInstalledError

if find_spec("jwt") is None:  # PyJWT verifies tokens; it is in an extra, and imported when needed
    raise ExtraNotInstalledError("The server", missing="PyJWT", extra="server")

from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge.server.bridge import Bridge
from realtime_bridge.server.http.request import Request

__all__ = ["Bridge", "Principal", "Request", "Tokens"]
