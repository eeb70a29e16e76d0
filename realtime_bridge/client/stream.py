"""What a client's transports share: a reducer per channel, and one bounded stream out of them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from realtime_bridge import identifiers
from realtime_bridge.backend import ResetReason
from realtime_bridge.errors import RealtimeError
from realtime_bridge.event import Event, Position
from realtime_bridge.protocol.frames import decode_event, decode_position
from realtime_bridge.protocol.reducer import Deliver, Output, Recover, Reducer, Restart

WAITING = 1_024
"""Events that may wait for a slow handler; beyond that the transports wait too."""

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


class Stream:
    """The channels of one client: what arrives goes in, what the handler gets comes out."""

    def __init__(self, channels: Mapping[str, Position | None], token: Token) -> None:
        self.client = identifiers.client_id()
        self.channels = {
            channel: Reducer(client=self.client, position=position)
            for channel, position in channels.items()
        }
        self.subscribed: asyncio.Queue[tuple[str, Position]] = asyncio.Queue()
        self.items: asyncio.Queue[Event | ChannelReset] = asyncio.Queue(WAITING)
        self._unannounced = set(channels)
        self._token = token

    async def token(self) -> str:
        """Return the token to connect with."""
        return self._token if isinstance(self._token, str) else await self._token()

    @property
    def renewable(self) -> bool:
        """Tell whether asking for a token again may give another one."""
        return not isinstance(self._token, str)

    @property
    def positions(self) -> dict[str, Position | None]:
        """Where each channel stands."""
        return {channel: reducer.position for channel, reducer in self.channels.items()}

    async def event(self, fields: Mapping[str, Any]) -> list[Recover]:
        """Take a pushed event, and return what has to be recovered."""
        event = decode_event(fields)
        reducer = self.channels.get(event.channel)
        return await self._hand_out(event.channel, reducer.event(event)) if reducer else []

    async def page(self, channel: str, fields: Mapping[str, Any]) -> list[Recover]:
        """Take the events that the log returned, and where it stands after them."""
        reducer, top = self.channels[channel], decode_position(fields)
        if channel in self._unannounced:
            self._unannounced.remove(channel)
            self.subscribed.put_nowait((channel, reducer.position or top))
        if reducer.position is None:
            return await self._hand_out(channel, reducer.start(top))
        events = tuple(decode_event(event) for event in fields["events"])
        outputs = reducer.page(events, top=top, more=bool(fields.get("more")))
        return await self._hand_out(channel, outputs)

    async def reset(
        self, channel: str, reason: ResetReason, position: Position | None
    ) -> list[Recover]:
        """Take the word that there is a hole."""
        return await self._hand_out(channel, self.channels[channel].reset(reason, position))

    async def announced(self, channel: str, offset: int) -> list[Recover]:
        """Take a heartbeat's word on where a channel stands."""
        return await self._hand_out(channel, self.channels[channel].announced(offset))

    def interrupted(self) -> None:
        """Note that the connection is gone."""
        for reducer in self.channels.values():
            reducer.interrupted()

    async def _hand_out(self, channel: str, outputs: list[Output]) -> list[Recover]:
        recoveries = []
        for output in outputs:
            if isinstance(output, Deliver):
                await self.items.put(output.event)
            elif isinstance(output, Restart):
                await self.items.put(ChannelReset(channel, output.reason, output.position))
            else:
                recoveries.append(output)
        return recoveries
