"""Information that the application adds to the ids of present users."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from realtime_bridge.protocol.presence.node_members import MAX_INFO_BYTES
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.auth.rules import ChannelFunctions

DescribeMember = (
    Callable[..., Mapping[str, Any] | None] | Callable[..., Awaitable[Mapping[str, Any] | None]]
)


class PresenceInfo(ChannelFunctions):
    """Functions that describe members, by channel pattern."""

    def __init__(self) -> None:
        super().__init__("presence function", convert=_checked)

    async def of(self, principal: Principal, channel: str) -> Mapping[str, Any] | None:
        """Return the information about a member of a channel; None without a function.

        A function that fails is logged, and the member is present without information.
        """
        try:
            for info in await self.results(principal, channel):
                return info  # type: ignore[no-any-return]  # checked below
        except Exception:
            return None
        return None


def _checked(info: Any) -> Mapping[str, Any] | None:
    if info is None:
        return None
    if not isinstance(info, dict):
        raise TypeError(f"it returned {type(info).__name__}: return a dict, or None")
    size = len(orjson.dumps(info, option=orjson.OPT_STRICT_INTEGER))
    if size > MAX_INFO_BYTES:
        raise ValueError(
            f"it returned {size:,} bytes of JSON, over the limit of {MAX_INFO_BYTES:,}: return less"
        )
    return info
