"""Access to channels: the application's rules, and revocations; the default is denial."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import Any

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.channel import ChannelPattern
from realtime_bridge.publishing.failover import CHANNEL as FAILOVER
from realtime_bridge.server.auth.revocations import CONTROL, Revocations
from realtime_bridge.server.auth.tokens import Principal

INTERNAL = frozenset({CONTROL, FAILOVER})
"""Channels on which servers and workers announce changes; clients cannot subscribe to them."""

Rule = Callable[..., bool] | Callable[..., Awaitable[bool]]


def own_channel(user: str) -> str:
    """Return the channel that `user` may subscribe to without a rule."""
    return f"user-{user}"


class ChannelRules:
    """Rules by channel pattern; at most one rule matches a channel."""

    def __init__(self) -> None:
        self._rules: list[tuple[ChannelPattern, Rule]] = []

    def add(self, text: str, rule: Rule) -> None:
        """Add `rule(user, **holes)` for the channels of a pattern.

        Raises:
            ConfigurationError: the pattern is malformed or overlaps another rule's pattern, or
                the rule's parameters are not the pattern's holes.

        """
        pattern = ChannelPattern(text)
        # Overlaps are rejected, so that the order of registration never decides about access.
        for other, _ in self._rules:
            if pattern.overlaps(other):
                raise ConfigurationError(
                    f"Channel rules {text!r} and {other.text!r} match the same names: "
                    "make one pattern more specific"
                )
        try:
            inspect.signature(rule).bind("user", **dict.fromkeys(pattern.holes, ""))
        except TypeError as error:
            parameters = ", ".join(("user", *pattern.holes))
            raise ConfigurationError(
                f"The rule of {text!r} cannot be called ({error}): "
                f"give it the parameters ({parameters})"
            ) from error
        self._rules.append((pattern, rule))

    async def allow(self, principal: Principal, channel: str) -> bool:
        """Return whether the user may subscribe to `channel`.

        Raises:
            Exception: the rule's own exception; access is then undecided, not denied.

        """
        if channel == own_channel(principal.user):
            return True
        if any(fnmatchcase(channel, granted) for granted in principal.channels or ()):
            return True
        for pattern, rule in self._rules:
            holes = pattern.match(channel)
            if holes is not None:
                # Only True allows: a rule that returns a truthy object by mistake denies access.
                return await call_maybe_async(rule, principal.user, **holes) is True
        return False


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


async def call_maybe_async(question: Callable[..., Any], *args: object, **named: str) -> Any:
    """Call a function of the application, async or not, and return its result."""
    if inspect.iscoroutinefunction(question):
        return await question(*args, **named)
    # A sync function may query a database: in a thread it does not block the event loop.
    result = await asyncio.to_thread(question, *args, **named)
    return await result if inspect.isawaitable(result) else result
