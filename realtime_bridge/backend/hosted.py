"""Backend whose browsers connect to a provider instead of our server."""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from msgspec import Struct

from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.backend.plugins import SHARED_LOGS
from realtime_bridge.backend.push import Backend

if TYPE_CHECKING:
    from realtime_bridge.backend.provider_connection import Authorize, ProviderConnection

T = TypeVar("T")

RULES_AT_ONCE = 16
"""The most rules, or presence functions, that one request asks at the same time."""

_logger = logging.getLogger("realtime_bridge.server")


async def _describe_nothing(channel: str) -> None:
    del channel


class AuthorizationRequest(Struct, frozen=True, kw_only=True):
    """Request of a user for a provider's permission.

    Args:
        user: id of the user.
        client: id of the client: one page load, or one process.
        seconds: longest duration of the permission.
        allow: returns whether this user may subscribe to a channel, by the application's rules.
            An error of a rule is neither yes nor no: let it propagate.
        describe: returns what the application adds to the user's id for the other members of a
            channel.

    """

    user: str
    client: str
    seconds: float
    allow: Callable[[str], Awaitable[bool]]
    describe: Callable[[str], Awaitable[Mapping[str, Any] | None]] = _describe_nothing


class ChannelDecisions(Struct, frozen=True, kw_only=True):
    """Decisions about several channels of one request.

    Args:
        allowed: the provider's names of the channels that the user may subscribe to.
        failures: the errors of the rules that gave no decision, by the provider's names.

    """

    allowed: list[str]
    failures: Mapping[str, Exception]

    def raise_failure(self) -> None:
        """Raise the first error of a rule, if there is any."""
        for error in self.failures.values():
            raise error


async def decide_channels(
    channels: Mapping[str, str | None], request: AuthorizationRequest
) -> ChannelDecisions:
    """Decide about several channels at once: a slow or failing rule holds back no other channel.

    Args:
        channels: our channels by the provider's names; None for a name that is not ours.
        request: the user, and the application's rules.

    """
    failures: dict[str, Exception] = {}

    async def allow(name: str) -> bool:
        channel = channels[name]
        try:
            return channel is not None and await request.allow(channel)
        except Exception as error:
            failures[name] = error
            return False

    decisions = await _some_at_once(allow, channels)
    allowed = [name for name, is_allowed in zip(channels, decisions, strict=True) if is_allowed]
    if allowed:
        for name, error in failures.items():
            _logger.error("channel rule failed: channel=%s", channels[name], exc_info=error)
    return ChannelDecisions(allowed=allowed, failures=failures)


async def describe_members(
    channels: Sequence[str], request: AuthorizationRequest
) -> Mapping[str, Mapping[str, Any] | None]:
    """Return what the application adds to a user on several channels, some at the same time."""
    described = await _some_at_once(request.describe, channels)
    return dict(zip(channels, described, strict=True))


async def _some_at_once(ask: Callable[[str], Awaitable[T]], names: Iterable[str]) -> list[T]:
    """Return the answers of the application for each name, in order."""
    room = asyncio.Semaphore(RULES_AT_ONCE)

    async def ask_one(name: str) -> T:
        async with room:
            return await ask(name)

    return await asyncio.gather(*map(ask_one, names))


class HostedBackend(Backend, Plugin):
    """Backend of a provider to which browsers connect.

    The server names the provider in the descriptor, and authorizes the subscriptions of the
    provider's own client.
    """

    provider: ClassVar[str]
    """Name of the clients' adapter: the descriptor's `provider`, the last part of `urls.auth`."""

    keeps_members: ClassVar[bool] = False
    """True if clients are present on channels at the provider, and read the members there."""

    channels_per_connection: ClassVar[int | None] = None
    """The most channels that one connection to the provider has; None: any number."""

    default_logs: ClassVar[tuple[str, ...]] = (*SHARED_LOGS, "sqlite")

    @property
    @abstractmethod
    def options(self) -> Mapping[str, Any]:
        """Options with which a client finds the provider, as JSON; never a secret."""

    @abstractmethod
    async def authorize(
        self, fields: Mapping[str, str], request: AuthorizationRequest
    ) -> Mapping[str, Any] | None:
        """Return the answer for the provider's client, in its own format; None denies with 403.

        Args:
            fields: fields of the client's form, query or JSON object.
            request: the user, and the application's rules.

        Raises:
            AuthRequestError: the provider's client never sends such fields.

        """

    async def revoke(self, user: str | None, channel: str | None) -> Sequence[str]:
        """End the access of a user, to a channel, or of a user to a channel, at the provider.

        The server has announced the revocation to the clients of this library.

        Returns:
            Sentences about access that goes on.

        Raises:
            PublishError: the provider refused, or cannot be reached.

        """
        del user, channel
        return [f"{self}: programs without this library keep their channels"]


class ListenableBackend(HostedBackend):
    """Hosted backend that Python clients can connect to as well."""

    @classmethod
    @abstractmethod
    def create_connection(
        cls, options: Mapping[str, Any], channels: Sequence[str], authorize: "Authorize"
    ) -> "ProviderConnection":
        """Return a connection that is not open yet.

        Args:
            options: options of the descriptor.
            channels: channels that will be subscribed.
            authorize: requests the permission of our server.

        """
