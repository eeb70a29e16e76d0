"""Access to channels, and control of their work: names, revocations and rules; else denial."""

from collections.abc import Callable

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import (
    PRESENCE,
    check_channel,
    check_channel_text,
    is_internal,
)
from realtime_bridge.model.user import own_channel
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.auth.revocations import Revocations
from realtime_bridge.server.auth.rules import ChannelRules
from realtime_bridge.server.http.denial import FAILED, FORBIDDEN, MALFORMED, Denial
from realtime_bridge.server.http.request import HTTPError

_NO_PRESENCE = "Presence needs a log that keeps keys with owners: set REALTIME_LOG to another one"


class ChannelAccess:
    """Decision whether a user may subscribe to a channel, and control its streams and jobs.

    Args:
        rules: the application's rules for subscriptions.
        controls: the application's rules for control.
        revocations: the revocations of access.
        has_presence: returns whether the log, or a provider, keeps the members of channels.

    """

    def __init__(
        self,
        rules: ChannelRules,
        controls: ChannelRules,
        revocations: Revocations,
        *,
        has_presence: Callable[[], bool] = lambda: True,
    ) -> None:
        self.rules = rules
        self.controls = controls
        self.revocations = revocations
        self._has_presence = has_presence

    async def decide(self, principal: Principal, channel: str) -> Denial | None:
        """Return the denial of a channel, or None where this user may subscribe to it now.

        The members of a channel are for those who may listen to it.
        """
        try:
            if check_channel_text(channel).startswith(PRESENCE):
                if not self._has_presence():
                    return Denial(MALFORMED, _NO_PRESENCE)
                channel = check_channel_text(channel.removeprefix(PRESENCE))
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

    def allows_at_once(self, principal: Principal, channel: str) -> bool:
        """Return whether `decide` allows a valid channel, and asks no function of the application.

        False is no decision.
        """
        return (
            not is_internal(channel)
            and self.revocations.allow(principal, channel)
            and self.rules.allow_at_once(principal, channel)
        )

    async def require_control(self, principal: Principal, channel: str) -> None:
        """Check that a user may stop the streams of a channel, and control its jobs.

        Raises:
            HTTPError: 400, the channel is malformed; 403, the user may not; 500, the rule failed.

        """
        try:
            check_channel(channel)
        except InvalidEventError as error:
            raise Denial(MALFORMED, str(error)).to_error() from error
        is_known = not is_internal(channel) and self.revocations.allow(principal, channel)
        try:
            may_control = is_known and await self._may_control(principal, channel)
        except Exception as error:
            # As in `decide`: the failure is no denial, and the rules have logged it.
            message = f"The control rule of {channel} failed: try again"
            raise Denial(FAILED, message).to_error() from error
        # Again: access may be revoked while a rule asks its database, and a stop is final.
        if not may_control or not self.revocations.allow(principal, channel):
            message = f"{principal.user} may not control {channel}: check its control rule"
            raise HTTPError(FORBIDDEN, "may_not_control", message)

    async def _may_control(self, principal: Principal, channel: str) -> bool:
        answer = await self.controls.decide(principal, channel)
        if answer is not None:
            return answer
        # Listening never implies control, for many may watch one channel. Users control the channel
        # of their own, unless a rule keeps them from listening to it.
        is_own = channel == own_channel(principal.user)
        return is_own and await self.rules.allow(principal, channel)


def _forbidden(principal: Principal, channel: str) -> Denial:
    return Denial(FORBIDDEN, f"{principal.user} may not listen to {channel}: check its rule")
