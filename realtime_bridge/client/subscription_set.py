"""What a client's transports share: a reducer per channel, and one bounded stream out of them."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from realtime_bridge.errors import RealtimeError
from realtime_bridge.model import ids
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import ResetReason
from realtime_bridge.protocol.client.reducer import Deliver, Output, Recover, Reducer, Restart
from realtime_bridge.protocol.wire.messages import decode_event, decode_position

NOWHERE = Position("00000000", 0)
"""Where every channel stands as long as nobody counts its events."""

WAITING = 1_024
"""Events that may wait for a slow handler; beyond that the transports wait too."""

_logger = logging.getLogger("realtime_bridge.client")

Token = str | Callable[[], Awaitable[str]]
"""A token, or what gets a fresh one when it has expired."""


@dataclass(frozen=True, slots=True)
class ChannelReset:
    """There is a hole before what follows on this channel: reload what you show."""

    channel: str
    reason: ResetReason
    position: Position | None


class DeniedError(RealtimeError):
    """The server refuses this client, or one of its channels, and will go on refusing."""


class Unavailable(Exception):  # noqa: N818 -- it is a state, and a passing one
    """One way to the server does not work now."""


class SubscriptionSet:
    """The channels of one client: what arrives goes in, what the handler gets comes out."""

    def __init__(self, channels: Mapping[str, Position | None], token: Token) -> None:
        self.client = ids.client_id()
        self.channels = {
            channel: Reducer(client=self.client, position=position)
            for channel, position in channels.items()
        }
        self.subscribed: asyncio.Queue[tuple[str, Position]] = asyncio.Queue()
        self._items: deque[Event | ChannelReset] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._taken = dict(channels)
        self._unannounced = set(channels)
        self.changed: Callable[[], None] = lambda: None
        self._token = token

    async def token(self) -> str:
        """Return the token to connect with.

        Raises:
            Unavailable: a fresh one cannot be had now.

        """
        if isinstance(self._token, str):
            return self._token
        try:
            return await self._token()
        except RealtimeError:
            raise
        except Exception as error:
            _logger.warning("no token can be had: %r", error)
            raise Unavailable("no token can be had") from error

    @property
    def positions(self) -> dict[str, Position | None]:
        """Where each channel stands."""
        return {channel: reducer.position for channel, reducer in self.channels.items()}

    @property
    def current(self) -> bool:
        """Tell whether every channel has all its events, as far as is known."""
        return all(reducer.phase == "current" for reducer in self.channels.values())

    @property
    def full(self) -> bool:
        """Tell whether the handler is so far behind that nothing more is read."""
        return not self._room.is_set()

    @property
    def taken(self) -> dict[str, Position | None]:
        """Where each channel stands for the handler, who has not seen what waits."""
        waiting = {item.channel for item in self._items}
        return self.positions | {channel: self._taken[channel] for channel in waiting}

    async def arrived(self) -> None:
        """Wait until there is something to take."""
        await self._arrived.wait()

    def take(self) -> Event | ChannelReset | None:
        """Return what comes next for the handler, if anything waits."""
        if not self._items:
            return None
        item = self._items.popleft()
        self._taken[item.channel] = item.position
        self._note_waiting()
        return item

    async def event(self, fields: Mapping[str, Any]) -> list[Recover]:
        """Take a pushed event, and return what has to be recovered."""
        event = decode_event(fields)
        reducer = self.channels.get(event.channel)
        return await self._hand_out(event.channel, reducer.event(event)) if reducer else []

    async def page(self, channel: str, fields: Mapping[str, Any]) -> list[Recover]:
        """Take the events that the log returned, and where it stands after them."""
        reducer, top = self.channels[channel], decode_position(fields)
        self._announce(channel, reducer.position or top)
        if reducer.position is None:
            self._taken[channel] = top
            return await self._hand_out(channel, reducer.start(top))
        events = tuple(decode_event(event) for event in fields["events"])
        outputs = reducer.page(events, top=top, more=bool(fields.get("more")))
        return await self._hand_out(channel, outputs)

    async def reset(
        self,
        channel: str,
        reason: ResetReason,
        position: Position | None,
        *,
        asked: Position | None,
    ) -> list[Recover]:
        """Take the word that there is a hole; `asked` is where we were when we asked, if we did."""
        if position is None:
            self._announce(channel, NOWHERE)
        outputs = self.channels[channel].reset(reason, position, asked=asked)
        return await self._hand_out(channel, outputs)

    async def announced(self, channel: str, offset: int) -> list[Recover]:
        """Take a heartbeat's word on where a channel stands."""
        return await self._hand_out(channel, self.channels[channel].announced(offset))

    def interrupted(self) -> None:
        """Note that the connection is gone."""
        for reducer in self.channels.values():
            reducer.interrupted()
        self.changed()

    def _announce(self, channel: str, start: Position) -> None:
        """Say from where a channel is heard, once."""
        if channel in self._unannounced:
            self._unannounced.remove(channel)
            self.subscribed.put_nowait((channel, start))

    async def _hand_out(self, channel: str, outputs: list[Output]) -> list[Recover]:
        """Put everything in order at once, so that nothing overtakes, then wait for room."""
        recoveries = []
        for output in outputs:
            if isinstance(output, Deliver):
                self._items.append(output.event)
            elif isinstance(output, Restart):
                self._items.append(ChannelReset(channel, output.reason, output.position))
            else:
                recoveries.append(output)
        self._note_waiting()
        self.changed()
        await self._room.wait()
        return recoveries

    def _note_waiting(self) -> None:
        _set(self._arrived, to=bool(self._items))
        _set(self._room, to=len(self._items) < WAITING)


def _set(event: asyncio.Event, *, to: bool) -> None:
    if to:
        event.set()
    else:
        event.clear()
