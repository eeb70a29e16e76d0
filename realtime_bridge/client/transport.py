"""Transport: one way on which a server pushes messages to a client."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from realtime_bridge.backend.outage_log import is_connection_error
from realtime_bridge.client.bridge_http import BridgeHTTP
from realtime_bridge.client.descriptor import DescriptorStore
from realtime_bridge.client.network import Network
from realtime_bridge.client.subscription_set import SubscriptionSet
from realtime_bridge.protocol.client.timing import Timing

INVALID_MESSAGE = "the server sent an invalid message"

Message = Mapping[str, Any]
"""Message between client and server, of JSON values and positions; `type` names its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportHandlers:
    """Receiver of a transport's messages.

    Args:
        opened: Called once, when messages can be sent.
        receive: Called with each message of the server.
        closed: Called once with the close code and the cause (an empty text: unknown), when the
            transport ends by itself.

    """

    opened: Callable[[], None]
    receive: Callable[[Message], None]
    closed: Callable[[int, str], None]


class Handle(Protocol):
    """Timer that can be cancelled."""

    def cancel(self) -> None:
        """Stop the timer."""


CallLater = Callable[[float, Callable[[], None]], Handle]
"""Calls a function after so many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportTools:
    """Parts of a client that its transports share."""

    timing: Timing
    http: BridgeHTTP
    descriptors: DescriptorStore
    channels: SubscriptionSet
    call_later: CallLater
    network: Network = field(default_factory=Network)


class Transport(Protocol):
    """Connection of one kind; `send` and `close` return at once."""

    async def run(self) -> None:
        """Connect and receive until the connection ends."""

    def send(self, message: Message) -> None:
        """Send a message; without a connection, do nothing."""

    def close(self) -> None:
        """End the connection without waiting for the other side."""


OpenTransport = Callable[[TransportTools, TransportHandlers], Transport]
"""Creates a transport of one kind, before it connects."""


def log_connection_failure(logger: logging.Logger, event: str, error: Exception) -> None:
    """Log an error that ended a connection; a mistake in code with its traceback."""
    if is_connection_error(error):
        logger.info("%s: error=%r", event, error)
    else:
        logger.warning("%s: error=%r", event, error, exc_info=error)
