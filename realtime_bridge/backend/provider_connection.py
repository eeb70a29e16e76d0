"""How a Python client hears a hosted provider: by that provider's own SDK, where it can listen."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

Authorize = Callable[[Mapping[str, str]], Awaitable[Mapping[str, Any]]]
"""Asks `auth/{provider}` with these fields, and returns its answer, or raises `AccessDeniedError`."""


class ConnectionLostError(Exception):
    """The provider cannot be reached, or the connection to it is gone."""


class AccessDeniedError(Exception):
    """The bridge or the provider said no.

    Args:
        status: 401 when who asks is not known any more, 403 when it may not listen.
        message: what was said.

    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ProviderConnection(ABC):
    """One connection; entering the context connects, and raises `ConnectionLostError` or `AccessDeniedError`."""

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
        """Hear one of the channels; when it returns, nothing the provider delivers is missed.

        Raises:
            ConnectionLostError: the connection is gone.
            AccessDeniedError: this channel is not for us.

        """

    @abstractmethod
    async def ping(self) -> None:
        """Return when the other side has shown that it is there.

        Raises:
            ConnectionLostError: it has not.

        """

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[str]:
        """Yield our frames as they arrive; it ends when the connection is lost."""
