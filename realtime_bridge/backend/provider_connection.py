"""Connection of a Python client to a hosted provider, through the provider's own SDK."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

Authorize = Callable[[Mapping[str, str]], Awaitable[Mapping[str, Any]]]
"""Sends these fields to `auth/{provider}` of our server, and returns its answer.

It raises `AccessDeniedError` where the server denies the request.
"""


class ConnectionLostError(Exception):
    """Connection that is lost, or cannot be opened."""


class AccessDeniedError(Exception):
    """Denial by our server or the provider.

    Args:
        status: 401 for an unknown or expired identity, 403 for a denied channel.
        message: text of the answer.

    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ChannelFailedError(Exception):
    """Channel that the provider does not serve now, while the connection goes on.

    Args:
        channel: name of the channel.
        message: the provider's reason.

    """

    def __init__(self, channel: str, message: str) -> None:
        super().__init__(message)
        self.channel = channel


class ProviderMember(Struct, frozen=True, kw_only=True):
    """Member of a channel, as the provider counts it.

    Args:
        key: the member's key: a user may have several.
        user: the id of the user.
        info: what the application adds to the id; None if it adds nothing.

    """

    key: str
    user: str
    info: Mapping[str, Any] | None


class Members(Struct, frozen=True):
    """All members of a subscribed presence channel.

    Args:
        channel: the presence channel.
        members: its members.

    """

    channel: str
    members: Sequence[ProviderMember]


class MemberChange(Struct, frozen=True):
    """Change of the members of a presence channel, after its `Members`.

    Args:
        channel: the presence channel.
        key: the key of the member.
        member: who came; None where the key ends.

    """

    channel: str
    key: str
    member: ProviderMember | None


class ProviderConnection(ABC):
    """Connection to a provider; entering the context connects.

    Raises:
        ConnectionLostError: the provider cannot be reached.
        AccessDeniedError: our server or the provider denies the connection.

    """

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    @abstractmethod
    async def subscribe(self, channel: str) -> None:
        """Subscribe to a channel; after the call no delivered message is missed.

        On a presence channel this makes the user present, and yields `Members`.

        Raises:
            ConnectionLostError: the connection is lost.
            AccessDeniedError: the user may not subscribe to this channel.
            ChannelFailedError: the provider does not serve this channel now.

        """

    @abstractmethod
    async def unsubscribe(self, channel: str) -> None:
        """Unsubscribe from a channel; do nothing without a subscription or a connection."""

    @abstractmethod
    async def ping(self) -> None:
        """Wait until the provider has answered.

        Raises:
            ConnectionLostError: the provider did not answer.

        """

    @abstractmethod
    def __aiter__(self) -> "AsyncIterator[ProviderItem]":
        """Yield what the provider sends until the connection is lost."""


ProviderItem = str | Members | MemberChange | ChannelFailedError
"""A message of ours, the members of a presence channel, or a subscribed channel that failed."""
