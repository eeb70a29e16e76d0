"""Access to channels: names, revocations and the application's rules; the default is denial."""

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import check_channel, is_internal
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.auth.revocations import Revocations
from realtime_bridge.server.auth.rules import ChannelRules
from realtime_bridge.server.http.denial import FAILED, FORBIDDEN, MALFORMED, Denial


class ChannelAccess:
    """Decision whether a user may subscribe to a channel.

    Args:
        rules: the application's rules.
        revocations: the revocations of access.

    """

    def __init__(self, rules: ChannelRules, revocations: Revocations) -> None:
        self.rules = rules
        self.revocations = revocations

    async def decide(self, principal: Principal, channel: str) -> Denial | None:
        """Return the denial of a channel, or None where this user may subscribe to it now."""
        try:
            check_channel(channel)
        except InvalidEventError as error:
            return Denial(MALFORMED, str(error))
        if is_internal(channel) or not self.revocations.allow(principal, channel):
            return _forbidden(principal, channel)
        try:
            is_allowed = await self.rules.allow(principal, channel)
        except Exception:
            # The application's failure is no denial: clients keep the channel, and try again. The
            # rules have logged it.
            return Denial(FAILED, f"The rule of {channel} failed: try again")
        return None if is_allowed else _forbidden(principal, channel)


def _forbidden(principal: Principal, channel: str) -> Denial:
    return Denial(FORBIDDEN, f"{principal.user} may not listen to {channel}: check its rule")
