"""Server: an ASGI application that delivers events from the log to browsers."""

from realtime_bridge.errors import ExtraNotInstalledError

try:
    import jwt as _jwt  # noqa: F401 -- PyJWT verifies the tokens; it is in an extra
except ModuleNotFoundError as _error:
    raise ExtraNotInstalledError("The server", missing="PyJWT", extra="server") from _error

from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge.server.bridge import Bridge
from realtime_bridge.server.http.request import Request

__all__ = ["Bridge", "Principal", "Request", "Tokens"]
