"""Registry of the clients connected to this process."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

from realtime_bridge.protocol.session import drain_schedule
from realtime_bridge.protocol.wire import messages
from realtime_bridge.protocol.wire.close_codes import CloseCode

_logger = logging.getLogger("realtime_bridge.server")


class RegisteredClient(ABC):
    """Client at the other end of a connection or a request that this process holds open."""

    __slots__ = ()

    transport: ClassVar[str]
    """Name of its transport, for the metrics."""

    @abstractmethod
    def notify(self, message: bytes) -> None:
        """Send this message, if the client was welcomed."""

    @abstractmethod
    def close(self, code: int, reason: str) -> None:
        """Close after the messages before it are written."""

    @abstractmethod
    def revoke(self, user: str | None, channel: str | None) -> None:
        """Revoke a user's access, a channel, or one user's access to one channel."""

    @abstractmethod
    def hasten_heartbeat(self, within: float) -> None:
        """Send the next heartbeat within some seconds."""


class ConnectionRegistry:
    """Connected clients, the connections of each user, and the state of draining.

    Args:
        user_limit: the most connections of one user.

    """

    def __init__(self, user_limit: int) -> None:
        self.draining: bool = False
        self.users: Counter[str] = Counter()
        """Number of connections of each user."""
        self.opened: Counter[str] = Counter()
        """Number of clients since the start by transport; a poll counts if it waits."""
        self._user_limit = user_limit
        # A dictionary: a set of thousands takes three times its memory.
        self._clients: dict[RegisteredClient, None] = {}
        self._empty = asyncio.Event()

    def __iter__(self) -> Iterator[RegisteredClient]:
        return iter(self._clients)

    def __len__(self) -> int:
        return len(self._clients)

    def add(self, client: RegisteredClient) -> None:
        """Register a client."""
        self._clients[client] = None
        self.opened[client.transport] += 1

    def discard(self, client: RegisteredClient) -> None:
        """Remove a client."""
        self._clients.pop(client, None)
        if self.draining and not self._clients:
            self._empty.set()

    def transports(self) -> Counter[str]:
        """Return the number of clients by transport."""
        return Counter(client.transport for client in self._clients)

    def acquire_slot(self, user: str) -> bool:
        """Count one more connection of a user; return False if the user has the most allowed."""
        if self.users[user] >= self._user_limit:
            return False
        self.users[user] += 1
        return True

    def release_slot(self, user: str) -> None:
        """Count one connection of a user less."""
        self.users[user] -= 1
        if not self.users[user]:
            del self.users[user]

    def notify(self, message: bytes) -> None:
        """Send a message to all clients."""
        for client in self._clients:
            client.notify(message)

    def revoke(self, user: str | None, channel: str | None) -> None:
        """Revoke access of all clients that have it."""
        for client in list(self._clients):
            client.revoke(user, channel)

    def hasten_heartbeats(self, within: float) -> None:
        """Send all clients a heartbeat within some seconds, each at a moment of its own."""
        for client in self._clients:
            client.hasten_heartbeat(within)

    def hand_over(self) -> None:
        """Ask all clients to connect elsewhere, and leave their connections open meanwhile."""
        window = drain_schedule.spread(len(self._clients))
        self.notify(messages.encode("drain", after=0, window=window))

    def close(self) -> None:
        """Close all clients."""
        for client in list(self._clients):
            client.close(CloseCode.SERVICE_RESTART, "the server restarts")

    async def drain(self, grace: float) -> None:
        """Ask each client to reconnect at a moment of its own, then close those that did not.

        Args:
            grace: the seconds until this process is killed.

        """
        self.draining = True
        if not self._clients:
            return
        start = asyncio.get_running_loop().time()
        count = len(self._clients)
        _logger.info("draining: clients=%d grace_s=%g", count, grace)
        slots = list(zip(self._clients, drain_schedule.slots(count, grace=grace), strict=True))
        for client, slot in slots:
            window = drain_schedule.BLUR_SECONDS
            client.notify(messages.encode("drain", after=round(slot.after, 3), window=window))
        for client, slot in slots:
            await self._wait_until(start + slot.closes)
            if client in self._clients:
                client.close(CloseCode.SERVICE_RESTART, "the server restarts")
        seconds = asyncio.get_running_loop().time() - start
        _logger.info("drained: clients=%d drain_s=%.1f", count, seconds)

    async def _wait_until(self, moment: float) -> None:
        """Wait for a moment, or until the last client is removed."""
        try:
            async with asyncio.timeout_at(moment):
                await self._empty.wait()
        except TimeoutError:
            return
