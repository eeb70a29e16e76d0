"""Backend whose browsers connect to a provider instead of our server."""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.backend.plugins import SHARED_LOGS
from realtime_bridge.backend.provider_connection import Authorize, ProviderConnection
from realtime_bridge.backend.push import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """Who asks a hosted provider's permission of us.

    Args:
        user: the user's id.
        client: the client's id: one page load, or one process.
        seconds: how long what is granted may last.
        allow: tells whether this user may listen to a channel, by the application's rules. What
            it raises is neither yes nor no: let it through.

    """

    user: str
    client: str
    seconds: float
    allow: Callable[[str], Awaitable[bool]]


class HostedBackend(Backend, Plugin):
    """A backend whose browsers connect to a provider, and not to our server.

    The server names it in the descriptor, and answers the provider's own client where that asks
    whether a user may listen.
    """

    provider: ClassVar[str]
    """Which adapter clients load: the descriptor's `provider`, and the last part of `urls.auth`."""

    default_logs = SHARED_LOGS

    @property
    @abstractmethod
    def options(self) -> Mapping[str, Any]:
        """What a client needs to find the provider, as JSON; never a secret."""

    @abstractmethod
    async def authorize(
        self, fields: Mapping[str, str], request: AuthorizationRequest
    ) -> Mapping[str, Any] | None:
        """Answer the provider's client, in the provider's own words; None is a no, a 403.

        Args:
            fields: what it sent, as a form, a query or a JSON object of texts.
            visitor: who it speaks for.

        Raises:
            AuthRequestError: the fields are not what the provider's client sends.

        """


class ListenableBackend(HostedBackend):
    """A hosted backend that Python clients can hear too."""

    @classmethod
    @abstractmethod
    def create_connection(
        cls, options: Mapping[str, Any], channels: Sequence[str], authorize: Authorize
    ) -> ProviderConnection:
        """Make a connection that was not opened yet.

        Args:
            options: the descriptor's.
            channels: what will be subscribed.
            permit: asks our bridge for permission, in the provider's words.

        """
