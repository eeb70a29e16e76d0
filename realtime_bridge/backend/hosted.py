"""Backend whose browsers connect to a provider instead of our server."""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct

from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.backend.plugins import SHARED_LOGS
from realtime_bridge.backend.provider_connection import Authorize, ProviderConnection
from realtime_bridge.backend.push import Backend


class AuthorizationRequest(Struct, frozen=True, kw_only=True):
    """Request of a user for a provider's permission.

    Args:
        user: id of the user.
        client: id of the client: one page load, or one process.
        seconds: longest duration of the permission.
        allow: returns whether this user may subscribe to a channel, by the application's rules.
            An error of a rule is neither yes nor no: let it propagate.

    """

    user: str
    client: str
    seconds: float
    allow: Callable[[str], Awaitable[bool]]


class HostedBackend(Backend, Plugin):
    """Backend of a provider to which browsers connect.

    The server names the provider in the descriptor, and authorizes the subscriptions of the
    provider's own client.
    """

    provider: ClassVar[str]
    """Name of the clients' adapter: the descriptor's `provider`, the last part of `urls.auth`."""

    default_logs: ClassVar[tuple[str, ...]] = SHARED_LOGS

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


class ListenableBackend(HostedBackend):
    """Hosted backend that Python clients can connect to as well."""

    @classmethod
    @abstractmethod
    def create_connection(
        cls, options: Mapping[str, Any], channels: Sequence[str], authorize: Authorize
    ) -> ProviderConnection:
        """Return a connection that is not open yet.

        Args:
            options: options of the descriptor.
            channels: channels that will be subscribed.
            authorize: requests the permission of our server.

        """
