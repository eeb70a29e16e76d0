"""Reader of the members of one channel, for Python programs."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self

from realtime_bridge.client.descriptor import Token
from realtime_bridge.client.hybrid import HybridClient
from realtime_bridge.client.loaded_state import contradicts, includes
from realtime_bridge.client.provider_members import EPOCH, MEMBERS, members_of
from realtime_bridge.client.subscription_set import Item
from realtime_bridge.client.transport_manager import TransportName
from realtime_bridge.errors import ConfigurationError, InvalidEventError
from realtime_bridge.model.channel import presence_channel
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.presence.member_list import (
    MemberList,
    PresenceChange,
    PresentMember,
)


class PresenceReader:
    """Members of one channel: an async context manager, and an async iterator of their changes.

    Its own user is present while the context is entered, which ends when the members are loaded.
    `members` and `count` change while the reader is iterated. A user who joins or leaves comes
    once, however many pages and programs the user has.

    Args:
        client: Client of the presence channel alone, which the reader starts and stops.
        channel: Name of the presence channel.

    """

    def __init__(self, client: HybridClient, channel: str) -> None:
        self._client = client
        self._channel = channel
        self._list = MemberList()
        self._changes: deque[PresenceChange] = deque()
        self._received: AsyncIterator[Item] | None = None
        self._top: Position | None = None
        """Position of the loaded members; None while they are missing."""

    @property
    def members(self) -> Sequence[PresentMember]:
        """The members that joined first, 100 at most."""
        return self._list.members

    @property
    def count(self) -> int:
        """Number of all members."""
        return self._list.count

    async def __aenter__(self) -> Self:
        """Load the members.

        Raises:
            DeniedError: the server denies the channel, or this client.

        """
        await self._client.__aenter__()
        try:
            _, top = await self._client.wait_subscribed()
            if top.epoch == EPOCH:
                # A provider keeps the members: they follow as an event, and no log has them.
                await self._receive(top)
            else:
                await self._load()
        except BaseException as error:
            await self._client.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> PresenceChange:
        """Return the next user who joins or leaves.

        Raises:
            DeniedError: the server denies the channel, or this client.

        """
        while not self._changes:
            if self._top is None:
                await self._load()
            else:
                await self._receive(self._top)
        return self._changes.popleft()

    async def _load(self) -> None:
        page = await self._client.read_latest(self._channel)
        self._top = page.top
        self._changes.extend(self._list.load(page.events, _now()))

    async def _receive(self, top: Position) -> None:
        """Wait for one item of the channel, or until a departure is due."""
        due = self._list.next_change
        try:
            async with asyncio.timeout(None if due == float("inf") else (due - _now()) / 1_000):
                item = await self._next()
        except TimeoutError:
            self._changes.extend(self._list.tick(_now()))
            return
        if not isinstance(item, Event):
            place = item.position
            self._top = place if place and place.epoch == EPOCH else None
        elif contradicts(top, item):
            self._top = None
        elif item.event == MEMBERS:
            self._top = item.position
            self._changes.extend(self._list.load(members_of(item), _now()))
        elif not includes(top, item):
            self._changes.extend(self._list.handle(item, _now()))

    async def _next(self) -> Item:
        self._received = self._received or aiter(self._client)
        try:
            return await anext(self._received)
        except BaseException:
            # A cancelled generator has ended: the next call needs another one.
            self._received = None
            raise


def open_presence(
    url: str, channel: str, *, token: Token, transport: TransportName = "auto"
) -> PresenceReader:
    """Return the reader of a channel's members, an async context manager and an async iterator.

    Args:
        url: URL of the bridge, such as `https://example.com/realtime`.
        channel: Name of the channel, of 109 characters at most.
        token: Token, or an async function that returns a fresh one.
        transport: As for `HybridClient`.

    Raises:
        ConfigurationError: the url or the channel is invalid.

    """
    try:
        name = presence_channel(channel)
    except InvalidEventError as error:
        raise ConfigurationError(f"No presence on {channel[:140]!r}: {error}") from error
    return PresenceReader(HybridClient(url, [name], token=token, transport=transport), name)


def _now() -> int:
    return round(time.monotonic() * 1_000)
