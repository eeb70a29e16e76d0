"""The clients connected to this process: told things together, and sent away one by one."""

import asyncio
from abc import ABC, abstractmethod

from realtime_bridge.protocol.session import drain_schedule
from realtime_bridge.protocol.wire import messages

RESTARTING = 1012
"""The close code of a server that restarts (RFC 6455's registry): come back, elsewhere or later."""


class Client(ABC):
    """Whoever waits at the other end of something that this process holds open."""

    __slots__ = ()

    @abstractmethod
    def tell(self, frame: bytes) -> None:
        """Write this frame, if the client was welcomed."""

    @abstractmethod
    def dismiss(self, code: int, reason: str) -> None:
        """End it, after what was written before."""

    @abstractmethod
    def revoke(self, user: str | None, channel: str | None) -> None:
        """Take back what of this it has: a user's access, a channel, or a user's to a channel."""


class ConnectionRegistry:
    """Who is connected, and whether they are being sent away."""

    def __init__(self) -> None:
        self.draining = False
        self._all: dict[Client, None] = {}
        """A dictionary, since a set of thousands takes thrice its memory."""
        self._empty = asyncio.Event()

    def add(self, client: Client) -> None:
        """Count one in."""
        self._all[client] = None

    def discard(self, client: Client) -> None:
        """Count one out."""
        self._all.pop(client, None)
        if self.draining and not self._all:
            self._empty.set()

    def tell(self, frame: bytes) -> None:
        """Write a frame to all."""
        for client in self._all:
            client.tell(frame)

    def revoke(self, user: str | None, channel: str | None) -> None:
        """Take this back from all who have it."""
        for client in list(self._all):
            client.revoke(user, channel)

    def dismiss(self) -> None:
        """End whatever is still there."""
        for client in list(self._all):
            client.dismiss(RESTARTING, "the server restarts")

    async def drain(self, grace: float) -> None:
        """Ask all to move over, each at its own moment, and close who has not by then.

        Args:
            grace: the seconds that this process has until it is killed.

        """
        self.draining = True
        if not self._all:
            return
        begun = asyncio.get_running_loop().time()
        slots = list(zip(self._all, drain_schedule.slots(len(self._all), grace=grace), strict=True))
        for client, slot in slots:
            window = drain_schedule.BLUR_SECONDS
            client.tell(messages.encode("drain", after=round(slot.after, 3), window=window))
        for client, slot in slots:
            await self._until(begun + slot.closes)
            if client in self._all:
                client.dismiss(RESTARTING, "the server restarts")

    async def _until(self, moment: float) -> None:
        """Wait for a moment, or until nobody is left."""
        try:
            async with asyncio.timeout_at(moment):
                await self._empty.wait()
        except TimeoutError:
            return
