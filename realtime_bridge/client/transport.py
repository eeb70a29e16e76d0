"""Transport: one way on which a server pushes messages to a client."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from realtime_bridge.client.bridge_http import BridgeHTTP
from realtime_bridge.client.descriptor import DescriptorStore
from realtime_bridge.client.subscription_set import SubscriptionSet
from realtime_bridge.protocol.client.timing import Timing

Message = Mapping[str, Any]
"""JSON message between client and server; `type` names its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportHandlers:
    """Receiver of a transport's messages.

    Args:
        opened: Called once, when messages can be sent.
        receive: Called with each message of the server.

    """

    opened: Callable[[], None]
    receive: Callable[[Message], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportTools:
    """Parts of a client that a transport uses."""

    timing: Timing
    http: BridgeHTTP
    descriptors: DescriptorStore
    channels: SubscriptionSet


class Transport(Protocol):
    """Connection of one kind; `send` and `close` return at once."""

    async def run(self) -> int:
        """Connect and receive until the connection ends, and return its close code."""

    def send(self, message: Message) -> None:
        """Send a message; without a connection, do nothing."""

    def close(self) -> None:
        """End the connection without waiting for the other side."""
