"""Who may listen to which channel: deny by default."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import Any

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.channel import ChannelPattern
from realtime_bridge.server.auth.tokens import Principal

Rule = Callable[..., bool] | Callable[..., Awaitable[bool]]


def own_channel(user: str) -> str:
    """Return the channel that belongs to `user` without a rule."""
    return f"user-{user}"


class ChannelRules:
    """The application's rules, at most one of which speaks of any one channel."""

    def __init__(self) -> None:
        self._rules: list[tuple[ChannelPattern, Rule]] = []

    def add(self, text: str, rule: Rule) -> None:
        """Let `rule(user, **holes)` decide about the channels of a pattern.

        Raises:
            ConfigurationError: another rule's pattern has a channel in common with this one, or
                the rule does not take what the pattern gives it.

        """
        pattern = ChannelPattern(text)
        for other, _ in self._rules:
            if pattern.overlaps(other):
                raise ConfigurationError(
                    f"Ambiguous channel rules: {text!r} and {other.text!r} have names in common"
                )
        try:
            inspect.signature(rule).bind("user", **dict.fromkeys(pattern.holes, ""))
        except TypeError as error:
            wanted = ", ".join(("user", *pattern.holes))
            raise ConfigurationError(
                f"The rule of {text!r} has to take ({wanted}): {error}"
            ) from error
        self._rules.append((pattern, rule))

    async def allow(self, principal: Principal, channel: str) -> bool:
        """Tell whether this user may listen to `channel`.

        Raises:
            Exception: whatever the rule raised: then the answer is neither yes nor no.

        """
        if channel == own_channel(principal.user):
            return True
        if any(fnmatchcase(channel, granted) for granted in principal.channels or ()):
            return True
        for pattern, rule in self._rules:
            holes = pattern.match(channel)
            if holes is not None:
                return await call_maybe_async(rule, principal.user, **holes) is True
        return False


async def call_maybe_async(question: Callable[..., Any], *args: object, **named: str) -> Any:
    """Return the application's answer; what is not async is called in a thread, for it may wait."""
    if inspect.iscoroutinefunction(question):
        return await question(*args, **named)
    answer = await asyncio.to_thread(question, *args, **named)
    return await answer if inspect.isawaitable(answer) else answer
