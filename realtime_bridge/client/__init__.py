"""Client for Python programs: each event once and in order, or a reset."""

from realtime_bridge.errors import ExtraNotInstalledError

try:
    import aiohttp as _aiohttp  # noqa: F401 -- the client's HTTP library, in an extra
except ModuleNotFoundError as _error:
    raise ExtraNotInstalledError("The client", missing="aiohttp", extra="client") from _error

from realtime_bridge.client.hybrid import HybridClient
from realtime_bridge.client.presence_reader import PresenceReader, open_presence
from realtime_bridge.client.stream_reader import StreamReader, StreamRestarted, open_stream
from realtime_bridge.client.subscription_set import ChannelDenied, ChannelReset, DeniedError
from realtime_bridge.protocol.client.commands import Options
from realtime_bridge.protocol.client.status import Status
from realtime_bridge.protocol.presence.member_list import PresenceChange, PresentMember

__all__ = [
    "ChannelDenied",
    "ChannelReset",
    "DeniedError",
    "HybridClient",
    "Options",
    "PresenceChange",
    "PresenceReader",
    "PresentMember",
    "Status",
    "StreamReader",
    "StreamRestarted",
    "open_presence",
    "open_stream",
]
