"""The application's rules: who may listen to a channel, and who may control its work."""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from fnmatch import fnmatchcase
from functools import partial
from operator import attrgetter
from typing import Any

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.channel import ChannelPattern
from realtime_bridge.model.user import own_channel
from realtime_bridge.server.auth.application import ApplicationFunction
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.auth.rule_calls import RuleCalls

Rule = Callable[..., bool] | Callable[..., Awaitable[bool]]


class ChannelFunctions:
    """Functions of the application by channel pattern; at most one matches a channel.

    Args:
        name: what one of the functions is called in errors and log lines.
        convert: converts a result; its error counts as one of the function.

    """

    def __init__(self, name: str, *, convert: Callable[[Any], Any] = lambda result: result) -> None:
        self._name = name
        self._convert = convert
        self._functions: list[tuple[ChannelPattern, ApplicationFunction]] = []
        self._calls = RuleCalls()

    def add(self, text: str, function: Callable[..., Any]) -> None:
        """Add `function(user, **holes)` for the channels of a pattern.

        Raises:
            ConfigurationError: the pattern is malformed or overlaps another function's pattern, or
                the function's parameters are not the pattern's holes.

        """
        pattern = ChannelPattern(text)
        # Overlaps are rejected, so that the order of registration never decides about access.
        for other, _ in self._functions:
            if pattern.overlaps(other):
                raise ConfigurationError(
                    f"{self._name.capitalize()}s {text!r} and {other.text!r} match the same names: "
                    "make one pattern more specific"
                )
        try:
            inspect.signature(function).bind("user", **dict.fromkeys(pattern.holes, ""))
        except TypeError as error:
            parameters = ", ".join(("user", *pattern.holes))
            raise ConfigurationError(
                f"The {self._name} of {text!r} cannot be called ({error}): "
                f"give it the parameters ({parameters})"
            ) from error
        called = ApplicationFunction(function, self._name, convert=self._convert)
        self._functions.append((pattern, called))

    async def results(self, principal: Principal, channel: str) -> list[Any]:
        """Return the result of the function for a channel; an empty list where none matches.

        Raises:
            Exception: the function's own exception, which was logged.

        """
        for pattern, function in self._functions:
            holes = pattern.match(channel)
            if holes is not None:
                run = partial(self._calls.call, principal.user)
                return [await function.call(principal.identity, holes, run=run, channel=channel)]
        return []

    def decides(self, channel: str) -> bool:
        """Return whether one of the functions is for this channel."""
        return any(pattern.match(channel) is not None for pattern, _ in self._functions)


class ChannelRules(ChannelFunctions):
    """Rules by channel pattern; at most one rule matches a channel.

    Args:
        name: what one of the rules is called in errors and log lines.
        granted: returns the patterns that a principal's token grants.

    """

    def __init__(
        self,
        name: str = "channel rule",
        granted: Callable[[Principal], Iterable[str] | None] = attrgetter("channels"),
    ) -> None:
        super().__init__(name)
        self._granted = granted

    async def allow(self, principal: Principal, channel: str) -> bool:
        """Return whether the token or a rule allows `channel`, or the channel is the user's own.

        Raises:
            Exception: the rule's own exception; access is then undecided, not denied.

        """
        answer = await self.decide(principal, channel)
        # Last, because ids may be chosen: user `ann.admin` must not pass the rule of
        # `user-{name}.{role}`.
        return channel == own_channel(principal.user) if answer is None else answer

    def allow_at_once(self, principal: Principal, channel: str) -> bool:
        """Return whether `channel` is allowed without a call of the application's rules."""
        if self._is_granted(principal, channel):
            return True
        return channel == own_channel(principal.user) and not self.decides(channel)

    async def decide(self, principal: Principal, channel: str) -> bool | None:
        """Return the answer of the token or of the rule; None where no rule matches.

        Raises:
            Exception: the rule's own exception; access is then undecided, not denied.

        """
        if self._is_granted(principal, channel):
            return True
        # Only True allows: a rule that returns a truthy object by mistake denies access.
        for answer in await self.results(principal, channel):
            return answer is True
        return None

    def _is_granted(self, principal: Principal, channel: str) -> bool:
        granted = self._granted(principal)
        return granted is not None and any(fnmatchcase(channel, pattern) for pattern in granted)
