"""Channels of one client: received messages go in, events and resets for the handler come out."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import ResetReason
from realtime_bridge.protocol.client.reducer import Deliver, Output, Reducer, Restart

NOWHERE = Position("00000000", 0)
"""Position of every channel without a log."""

MAX_WAITING = 10_000
"""Items of one channel that may wait for a slow handler."""


@dataclass(frozen=True, slots=True)
class ChannelReset:
    """A gap before the next event of the channel: reload your data.

    Args:
        channel: Name of the channel.
        reason: Reason of the gap.
        position: Position after the gap; None without a log.

    """

    channel: str
    reason: ResetReason
    position: Position | None


@dataclass(frozen=True, slots=True)
class ChannelDenied:
    """The server denies a channel: no event of it follows.

    Args:
        channel: Name of the channel.
        message: The server's words.

    """

    channel: str
    message: str

    @property
    def position(self) -> None:
        """No position: there is nothing to resume."""


Item = Event | ChannelReset | ChannelDenied
"""Item for the handler of a client."""


class DeniedError(RealtimeError):
    """The server denies this client, or a channel, and would deny each further request."""


class _Channel:
    def __init__(self, name: str, client: str, position: Position | None) -> None:
        self.name = name
        self.reducer = Reducer(client=client, position=position)
        self.handled = position
        """Position of the last item that the handler took."""
        self.waiting = 0
        self.is_announced = False


class SubscriptionSet:
    """Channels of one client, and the items that wait for its handler.

    A method that takes a message returns whether the log has events that are missing here.

    Nothing that is received waits for the handler. A channel of which `max_waiting` items wait
    loses them all, and gets a reset `truncated` instead: the promise (each event once and in
    order, or a reset) holds, memory is bounded, and heartbeats are still answered.

    Args:
        channels: Names of the channels, each with the position to resume from.
        client: Id of this client; events with it as their `source` are not delivered.
        max_waiting: Items of one channel that may wait.

    """

    def __init__(
        self,
        channels: Mapping[str, Position | None],
        client: str,
        *,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self.client = client
        self.subscribed: asyncio.Queue[tuple[str, Position] | DeniedError] = asyncio.Queue()
        """First outcome of each channel's subscription."""
        self.all_denied: asyncio.Event = asyncio.Event()
        self.available: asyncio.Event = asyncio.Event()
        """Set while `take` has an item."""
        self.behind: set[str] = set(channels)
        """Channels with missing events, as far as the server reported."""
        self.errors: dict[str, str] = {}
        """Reason of each channel that is denied."""
        self.unpushed: Collection[str] = ()
        """Channels that the live transport does not push now: they are polled."""
        self._channels = {name: _Channel(name, client, at) for name, at in channels.items()}
        self._max_waiting = max_waiting
        self._items: deque[Item] = deque()
        self._denial_watchers: list[Callable[[str], None]] = []

    @property
    def names(self) -> list[str]:
        """Channels that are wanted, and not denied."""
        return [name for name in self._channels if name not in self.errors]

    def positions_of(self, names: Iterable[str]) -> dict[str, Position | None]:
        """Return the positions of those channels that are wanted, and not denied."""
        return {name: self.position(name) for name in names if self.has(name)}

    def first_positions(self, count: int) -> dict[str, Position | None]:
        """Return the positions of the first channels: a connection carries no more of them."""
        return self.positions_of(self.names[:count])

    @property
    def handled_positions(self) -> dict[str, Position | None]:
        """Position of each channel without the items that wait for the handler."""
        return {
            name: channel.handled if channel.waiting else channel.reducer.position
            for name, channel in self._channels.items()
        }

    def has(self, name: str) -> bool:
        """Return whether a channel is wanted, and not denied."""
        return name in self._channels and name not in self.errors

    def position(self, name: str) -> Position | None:
        """Return the position of a channel."""
        return self._channels[name].reducer.position

    def take(self) -> Item | None:
        """Return the next item for the handler; None when no item waits."""
        if not self._items:
            return None
        item = self._items.popleft()
        channel = self._channels[item.channel]
        if not isinstance(item, ChannelDenied):
            channel.handled = item.position
        channel.waiting -= 1
        if not self._items:
            self.available.clear()
        return item

    def event(self, event: Event) -> bool:
        """Handle a pushed event."""
        channel = self._allowed(event.channel)
        if channel is None:
            return False
        return self._perform(channel, channel.reducer.event(event))

    def page(self, name: str, events: Sequence[Event], top: Position, *, more: bool) -> bool:
        """Handle a page of the log, whose channel stands at `top`."""
        channel = self._allowed(name)
        if channel is None:
            return False
        reducer = channel.reducer
        self._announce(channel, (name, reducer.position or top))
        if reducer.position is None:
            channel.handled = top
            return self._perform(channel, reducer.start(top))
        return self._perform(channel, reducer.page(tuple(events), top=top, more=more))

    def reset(
        self, name: str, reason: ResetReason, position: Position | None, asked: Position | None
    ) -> bool:
        """Handle a reset; `asked` is the position in the request that it answers."""
        channel = self._allowed(name)
        if channel is None:
            return False
        if position is None:
            self._announce(channel, (name, NOWHERE))
        return self._perform(channel, channel.reducer.reset(reason, position, asked=asked))

    def offset_announced(self, name: str, offset: int) -> bool:
        """Handle the offset of a channel in a heartbeat or a stub."""
        channel = self._allowed(name)
        if channel is None:
            return False
        return self._perform(channel, channel.reducer.announced(offset))

    def deny(self, name: str, reason: str) -> None:
        """End one channel of this client: the server denies it for good."""
        channel = self._allowed(name)
        if channel is None:
            return
        self.errors[name] = reason
        self._announce(channel, DeniedError(f"{name}: {reason}"))
        channel.reducer.interrupted()
        self.behind.discard(name)
        for watcher in tuple(self._denial_watchers):
            watcher(name)
        if self.names:
            self._push(channel, ChannelDenied(name, reason))
        else:
            # The client ends with a `DeniedError`, which has the reasons.
            self.all_denied.set()

    @contextmanager
    def watch_denials(self, watcher: Callable[[str], None]) -> Generator[None]:
        """Call `watcher` with each channel that is denied, by whatever answer."""
        self._denial_watchers.append(watcher)
        try:
            yield
        finally:
            self._denial_watchers.remove(watcher)

    def interrupted(self) -> None:
        """Record that the connection was lost, and with it the answers that it owed."""
        for channel in self._channels.values():
            channel.reducer.interrupted()
            if channel.name not in self.errors:
                self.behind.add(channel.name)

    def _allowed(self, name: str) -> _Channel | None:
        """Return a channel that is wanted, and not denied."""
        return None if name in self.errors else self._channels.get(name)

    def _announce(self, channel: _Channel, outcome: tuple[str, Position] | DeniedError) -> None:
        if not channel.is_announced:
            channel.is_announced = True
            self.subscribed.put_nowait(outcome)

    def _perform(self, channel: _Channel, outputs: list[Output]) -> bool:
        is_missing = False
        for output in outputs:
            if isinstance(output, Deliver):
                self._deliver(channel, output.event)
            elif isinstance(output, Restart):
                self._push(channel, ChannelReset(channel.name, output.reason, output.position))
            else:
                is_missing = True
        self._note_phase(channel)
        return is_missing

    def _note_phase(self, channel: _Channel) -> None:
        if channel.name not in self.errors and channel.reducer.phase != "current":
            self.behind.add(channel.name)
        else:
            self.behind.discard(channel.name)

    def _deliver(self, channel: _Channel, event: Event) -> None:
        if channel.waiting < self._max_waiting:
            self._push(channel, event)
            return
        self._items = deque(item for item in self._items if item.channel != channel.name)
        channel.waiting = 0
        self._push(channel, ChannelReset(channel.name, "truncated", event.position))

    def _push(self, channel: _Channel, item: Item) -> None:
        self._items.append(item)
        channel.waiting += 1
        self.available.set()
