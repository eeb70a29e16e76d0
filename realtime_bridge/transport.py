"""How a Python client hears a hosted provider: by that provider's own SDK, where it can listen."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from realtime_bridge.backend import Hosted

Permit = Callable[[Mapping[str, str]], Awaitable[Mapping[str, Any]]]
"""Asks `auth/{provider}` with these fields, and returns its answer, or raises `Refused`."""


class Lost(Exception):  # noqa: N818 -- it is a state, and a passing one
    """The provider cannot be reached, or the connection to it is gone."""


class Refused(Exception):  # noqa: N818 -- it is an answer
    """The bridge or the provider said no.

    Args:
        status: 401 when who asks is not known any more, 403 when it may not listen.
        message: what was said.

    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Transport(ABC):
    """One connection; entering the context connects, and raises `Lost` or `Refused`."""

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
            Lost: the connection is gone.
            Refused: this channel is not for us.

        """

    @abstractmethod
    async def ping(self) -> None:
        """Return when the other side has shown that it is there.

        Raises:
            Lost: it has not.

        """

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[str]:
        """Yield our frames as they arrive; it ends when the connection is lost."""


class Audible(Hosted):
    """A hosted backend that Python clients can hear too."""

    @classmethod
    @abstractmethod
    def transport(
        cls, options: Mapping[str, Any], channels: Sequence[str], permit: Permit
    ) -> Transport:
        """Make a connection that was not opened yet.

        Args:
            options: the descriptor's.
            channels: what will be subscribed.
            permit: asks our bridge for permission, in the provider's words.

        """
