"""Access of users to channels: the application's rules, less what was revoked."""

from realtime_bridge.publishing.failover import CHANNEL as FAILOVER
from realtime_bridge.server.auth.revocations import CONTROL, Revocations
from realtime_bridge.server.auth.rules import ChannelRules
from realtime_bridge.server.auth.tokens import Principal

INTERNAL = frozenset({CONTROL, FAILOVER})
"""Channels on which servers and workers announce changes; clients cannot subscribe to them."""


class ChannelAccess:
    """Decision whether a user may subscribe to a channel.

    Args:
        rules: the application's rules.
        revocations: the revocations of access.

    """

    def __init__(self, rules: ChannelRules, revocations: Revocations) -> None:
        self.rules = rules
        self.revocations = revocations

    async def allow(self, principal: Principal, channel: str) -> bool:
        """Return whether this user may subscribe to `channel` now.

        Raises:
            Exception: the exception of the channel's rule.

        """
        if channel in INTERNAL:
            return False
        if self.revocations and not self.revocations.allow(principal, channel):
            return False
        return await self.rules.allow(principal, channel)
