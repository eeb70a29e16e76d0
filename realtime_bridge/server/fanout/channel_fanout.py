"""One channel in this process: its position, and who gets each event encoded once, in order."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.wire.messages import encode_event
from realtime_bridge.protocol.wire.websocket_frames import encode_frame
from realtime_bridge.server.fanout import sending
from realtime_bridge.server.fanout.positions import identified, reaches
from realtime_bridge.server.fanout.sending import WriteTarget


class Subscriber(ABC):
    """Whoever is subscribed through the hub. All calls come from its loop, and never wait."""

    __slots__ = ()

    @abstractmethod
    def deliver(self, channel: str, frames: Sequence[bytes]) -> bool:
        """Take the channel's next events, encoded; False ends delivery until it joins again."""

    @abstractmethod
    def subscribed(self, channel: str, page: Page, *, recovered: bool) -> None:
        """Take the answer to a subscription; unless it has more pages, it is live now."""

    @abstractmethod
    def reset(self, channel: str, reset: Reset) -> None:
        """Learn that there is a hole, and where the channel goes on."""


class FastSubscriber(Subscriber):
    """One whose socket the fan writes to itself, as long as it takes everything at once."""

    __slots__ = ()

    @abstractmethod
    def direct(self, channel: str) -> WriteTarget | None:
        """Return what takes the channel's events now; None while they have to be delivered.

        When that changes, `Hub.readmit` is called.
        """

    @abstractmethod
    def hand_over(self, rest: bytes) -> None:
        """Take what was not taken directly."""


V = TypeVar("V")

_NOBODY: dict[Subscriber, Any] = {}
"""What fans share for those of their states in which nobody is: most of them, most of the time."""


class ChannelFanout:
    """A channel's subscribers: live, ahead of the feed, reading history, or fallen behind."""

    __slots__ = (
        "ahead",
        "channel",
        "direct",
        "idle",
        "joining",
        "members",
        "missed",
        "position",
        "recovering",
    )

    def __init__(self, channel: str, position: Position) -> None:
        self.channel = channel
        self.position = position
        self.members: dict[Subscriber, None] = _NOBODY
        self.direct: dict[FastSubscriber, WriteTarget] = {}
        self.ahead: dict[Subscriber, Position] = _NOBODY
        self.joining: dict[Subscriber, list[Event | Reset]] = _NOBODY
        self.idle: dict[Subscriber, None] = _NOBODY
        self.recovering = False
        self.missed = False

    @property
    def used(self) -> bool:
        """Tell whether anybody is subscribed, in whatever state."""
        return bool(self.direct or self.members or self.ahead or self.joining or self.idle)

    def forget(self, subscriber: Subscriber) -> None:
        """Know nothing of a subscriber any more."""
        if isinstance(subscriber, FastSubscriber):
            self.direct.pop(subscriber, None)
        self.members.pop(subscriber, None)
        self.ahead.pop(subscriber, None)
        self.joining.pop(subscriber, None)
        self.idle.pop(subscriber, None)

    def begin(self, subscriber: Subscriber) -> None:
        """Hold events back for one whose history is read."""
        self.forget(subscriber)
        self.joining = _with(self.joining, subscriber, [])

    def end(self, subscriber: Subscriber) -> None:
        """Hold nothing back any more."""
        self.joining.pop(subscriber, None)
        self.joining = self.joining or _NOBODY

    def set_aside(self, subscriber: Subscriber) -> None:
        """Write nothing to one until it joins again."""
        self.forget(subscriber)
        self.idle = _with(self.idle, subscriber, None)

    def readmit(self, subscriber: FastSubscriber) -> None:
        """Ask a live subscriber anew how it wants its events."""
        if subscriber in self.members or subscriber in self.direct:
            self._admit(subscriber)

    def continuation(self, events: Iterable[Event]) -> list[Event] | None:
        """Return the events that are new here, or None when only the log can tell what is.

        That is so when there is a gap before them, and when one stands where we have been already:
        it was announced twice, or the log has lost its tail and numbers anew from there.
        """
        new: list[Event] = []
        epoch, offset, held = self.position.epoch, self.position.offset, self.position.id
        for event in events:
            place = event.position
            assert place
            if place.epoch != epoch:
                return None
            if place.offset == offset + 1:
                new.append(event)
                offset, held = place.offset, event.id
            elif place.offset != offset or event.id != held:
                return None
        return new

    def fan_out(self, events: Sequence[Event]) -> None:
        """Encode each event once, and hand all to everyone."""
        if not events:
            return
        self.position = with_id(events[-1])
        for held in self.joining.values():
            held.extend(events)
        if not (self.direct or self.members or self.ahead):
            return
        frames = [encode_event(event) for event in events]
        if self.members:
            self._deliver(list(self.members), frames)
        if self.direct:
            self._send(b"".join(map(encode_frame, frames)))
        if self.ahead:
            self._catch_up_all(frames)

    def go_live(self, subscriber: Subscriber, page: Page, *, recovered: bool) -> None:
        """Answer a subscription whose history was read to the top, and go on from there."""
        held = self.joining.pop(subscriber)
        subscriber.subscribed(self.channel, page, recovered=recovered)
        here = page.top
        for event in held:
            here = self._hand_over(subscriber, event, here)
        if has_reached(self.position, here):
            self._admit(subscriber)
        else:
            self.ahead = _with(self.ahead, subscriber, here)

    def reset(self, reset: Reset) -> None:
        """Move everybody to where the channel goes on, but who has read beyond that already.

        Also who has fallen behind, since offsets alone do not tell one epoch from another.
        """
        self.position = reset.top
        for subscriber, here in list(self.ahead.items()):
            if not has_reached(here, reset.top):
                del self.ahead[subscriber]
                self._admit(subscriber)
        for subscriber in (*self.direct, *self.members, *self.idle):
            subscriber.reset(self.channel, reset)
        for held in self.joining.values():
            held.append(reset)

    def _hand_over(self, subscriber: Subscriber, held: Event | Reset, here: Position) -> Position:
        """Pass on what came while the history was read, unless the history had it."""
        if isinstance(held, Reset):
            return self._hand_over_reset(subscriber, held, here)
        place = held.position
        if place is None or place.epoch != here.epoch or place.offset <= here.offset:
            return here
        subscriber.deliver(self.channel, [encode_event(held)])
        return place

    def _hand_over_reset(self, subscriber: Subscriber, reset: Reset, here: Position) -> Position:
        """Pass on a hole, unless the history was read beyond it."""
        if has_reached(here, reset.top):
            return here
        subscriber.reset(self.channel, reset)
        return reset.top

    def _deliver(self, subscribers: Iterable[Subscriber], frames: Sequence[bytes]) -> None:
        slow = [one for one in subscribers if not one.deliver(self.channel, frames)]
        for subscriber in slow:
            if subscriber in self.members or subscriber in self.direct:
                self.set_aside(subscriber)

    def _send(self, ready: bytes) -> None:
        """Write the same bytes to every socket; what one does not take, its connection keeps."""
        subscribers = list(self.direct)
        for place, sent in sending.send_all(self.direct.values(), ready):
            subscribers[place].hand_over(ready[sent:])

    def _admit(self, subscriber: Subscriber) -> None:
        """Let one have what comes from now on, in the way that it can take it now."""
        if isinstance(subscriber, FastSubscriber):
            self.direct.pop(subscriber, None)
            outlet = subscriber.direct(self.channel)
            if outlet is not None:
                self.members.pop(subscriber, None)
                self.direct[subscriber] = outlet
                return
        self.members = _with(self.members, subscriber, None)

    def _catch_up_all(self, frames: Sequence[bytes]) -> None:
        """Let those go on whom the feed has reached."""
        for subscriber, here in list(self.ahead.items()):
            if has_reached(self.position, here):
                del self.ahead[subscriber]
                self._admit(subscriber)
                if beyond := self.position.offset - here.offset:
                    self._deliver([subscriber], frames[-beyond:])


def _with(kept: dict[Subscriber, V], subscriber: Subscriber, value: V) -> dict[Subscriber, V]:
    """Return the dictionary with one more in it: a new one, where nobody was."""
    if kept is _NOBODY:
        return {subscriber: value}
    kept[subscriber] = value
    return kept
