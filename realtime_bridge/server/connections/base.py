"""Base of the connections of all protocols: the bytes that wait, and the close."""

import asyncio
from abc import abstractmethod
from collections.abc import Iterable

from realtime_bridge.protocol.session.session_commands import Close
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.server.fanout.subscriber import Subscriber
from realtime_bridge.server.registry import RegisteredClient
from realtime_bridge.server.services import ConnectionServices
from realtime_bridge.server.timer_wheel import Slot


class ServerConnection(Subscriber, RegisteredClient):
    """Open connection of a client. One subclass has its protocol, another one its transport."""

    __slots__ = ("_closing", "_drained", "_services", "slot")

    def __init__(self, services: ConnectionServices) -> None:
        self.slot: Slot | None = None
        """Slot of the timer in which the connection is woken."""
        self._services = services
        self._closing: Close | None = None
        self._drained: asyncio.Future[None] | None = None
        """Done when the bytes that wait for the client are written; None while none wait."""

    @abstractmethod
    def send(self, *messages: bytes) -> None:
        """Write these messages after all earlier ones."""

    @abstractmethod
    def end(self, command: Close) -> None:
        """Begin to close the transport, after the messages before are written."""

    @property
    @abstractmethod
    def unsent_bytes(self) -> int:
        """The bytes that wait for the client."""

    @abstractmethod
    def depart(self) -> None:
        """Remove the connection from all parts of the server."""

    @abstractmethod
    def receive(self, message: str | bytes) -> None:
        """Handle a message of the client."""

    @abstractmethod
    def receive_frame(self) -> None:
        """Count a control frame or a fragment, which is no message."""

    @abstractmethod
    def reject_oversized(self) -> None:
        """Close the connection after a message over the limit."""

    @abstractmethod
    def close_by_transport(self, code: int, reason: str) -> None:
        """Close with the code of RFC 6455 that the client or its frames call for."""

    @abstractmethod
    def mark_progress(self) -> None:
        """Store that the client has read some bytes."""

    @property
    @abstractmethod
    def subscriptions(self) -> Iterable[ChannelSubscription]:
        """The subscriptions that were requested and not denied."""

    @property
    def has_room(self) -> bool:
        """True while no more bytes wait for this client than allowed."""
        return self.unsent_bytes <= self._services.unsent_bytes

    async def wait_for_room(self) -> None:
        """Wait until `has_room`: the answers to the client's requests would wait too."""
        while self._drained and not self.has_room:
            # One request that is cancelled must not cancel the wait of the others.
            await asyncio.shield(self._drained)

    @property
    def closing(self) -> Close | None:
        """The command that closes this connection, once the session has returned it."""
        return self._closing

    def _finish(self, command: Close) -> None:
        """Close by a command of the session."""
        self._services.statistics.closed[command.code] += 1
        self._closing = command
        self.end(command)
        self._services.rejections.report_close(command.code, command.reason)
