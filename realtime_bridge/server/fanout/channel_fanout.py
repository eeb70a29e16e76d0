"""Fan-out of one channel: its position, and its subscribers."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.server.fanout import sending
from realtime_bridge.server.fanout.sending import WriteTarget
from realtime_bridge.server.fanout.subscriber import (
    Encode,
    EncodedEvents,
    FastSubscriber,
    Subscriber,
)
from realtime_bridge.server.statistics import ServerStatistics

V = TypeVar("V")

# Most sets of most channels are empty. They share this dictionary: 64 bytes each add up.
_EMPTY: dict[Subscriber, Any] = {}

_Subscriptions = dict[Subscriber, ChannelSubscription]


class ChannelFanout:
    """Fan-out of one channel to its subscribers, each of which is in one of five states.

    Args:
        channel: the channel's name.
        position: the position up to which events were fanned out.
        statistics: counts of this run.

    """

    __slots__ = (
        "ahead_of_feed",
        "channel",
        "fast_subscribers",
        "missed",
        "paused",
        "position",
        "reading_history",
        "recovering",
        "speaks_other",
        "statistics",
        "subscribers",
    )

    def __init__(self, channel: str, position: Position, statistics: ServerStatistics) -> None:
        self.channel: str = channel
        self.position: Position = position
        self.statistics: ServerStatistics = statistics
        self.subscribers: _Subscriptions = _EMPTY
        """Subscribers whose events go through `deliver`."""
        self.fast_subscribers: dict[FastSubscriber, WriteTarget] = {}
        """Subscribers whose events are written to the socket at once."""
        self.speaks_other: bool = False
        """True if one of them may speak another protocol than ours."""
        self.ahead_of_feed: _Subscriptions = _EMPTY
        """Subscribers whose history ended beyond the feed."""
        self.reading_history: _Subscriptions = _EMPTY
        """Subscribers whose events are buffered until their history is read."""
        self.paused: _Subscriptions = _EMPTY
        """Subscribers that receive resets only, until they subscribe again."""
        self.recovering: bool = False
        """True while events are read from the log, because the feed has a gap."""
        self.missed: bool = False
        """True if events were announced while the log was read."""

    @property
    def in_use(self) -> bool:
        """True while the channel has a subscriber, in any state."""
        return self.subscriber_count > 0

    @property
    def subscriber_count(self) -> int:
        """The number of subscribers, in any state."""
        return (
            len(self.fast_subscribers)
            + len(self.subscribers)
            + len(self.ahead_of_feed)
            + len(self.reading_history)
            + len(self.paused)
        )

    def remove(self, subscriber: Subscriber) -> None:
        """Remove a subscriber, in any state."""
        if isinstance(subscriber, FastSubscriber):
            self.fast_subscribers.pop(subscriber, None)
        self.subscribers.pop(subscriber, None)
        self.ahead_of_feed.pop(subscriber, None)
        self.paused.pop(subscriber, None)
        self.stop_reading(subscriber)

    def start_reading(self, subscriber: Subscriber, subscription: ChannelSubscription) -> None:
        """Buffer the events of a subscriber whose history is read."""
        self.remove(subscriber)
        subscription.buffer = []
        self.reading_history = _with(self.reading_history, subscriber, subscription)

    def stop_reading(self, subscriber: Subscriber) -> list[Event | Reset]:
        """Stop buffering, and return what was buffered."""
        subscription = self.reading_history.pop(subscriber, None)
        self.reading_history = self.reading_history or _EMPTY
        if subscription is None:
            return []
        buffered, subscription.buffer = subscription.buffer, None
        return buffered or []

    def pause(self, subscriber: Subscriber, subscription: ChannelSubscription) -> None:
        """Deliver nothing to a subscriber until it subscribes again."""
        self.remove(subscriber)
        self.paused = _with(self.paused, subscriber, subscription)

    def update_route(self, subscriber: FastSubscriber, subscription: ChannelSubscription) -> None:
        """Ask a live subscriber again for its write target."""
        if subscriber in self.subscribers or subscriber in self.fast_subscribers:
            self._add(subscriber, subscription)

    def accept(self, events: Iterable[Event]) -> bool:
        """Fan out and count the events that are new here.

        Return False, and fan out nothing, where only the log can decide what is new. That is so
        when there is a gap before the events, and when another event had their position: the log
        may have lost its tail and numbered other events from there.
        """
        new: list[Event] = []
        epoch, offset, last_id = self.position.epoch, self.position.offset, self.position.id
        for event in events:
            position = event.position
            assert position
            if position.epoch != epoch:
                return False
            if position.offset == offset + 1:
                new.append(event)
                offset, last_id = position.offset, event.id
            elif position.offset != offset or event.id != last_id:
                return False
        now = time.time()
        self.fan_out(new)
        live = len(self.subscribers) + len(self.fast_subscribers)
        self.statistics.count_events(new, now, subscribers=live)
        return True

    def fan_out(self, events: Sequence[Event]) -> None:
        """Encode each event once, and pass the events to all subscribers."""
        if not events:
            return
        self.position = _position_of(events[-1])
        if self.reading_history:
            self._buffer(events)
        if not (self.fast_subscribers or self.subscribers or self.ahead_of_feed):
            return
        encoded = EncodedEvents(events)
        if self.subscribers:
            self._deliver(list(self.subscribers.items()), encoded)
        if self.fast_subscribers:
            if self.speaks_other:
                self._write_by_protocol(events, encoded)
            else:
                _write(self.fast_subscribers, encoded.frames(FastSubscriber.encode))
        if self.ahead_of_feed:
            self._catch_up_all(events)

    def pass_on(self, event: EphemeralEvent) -> None:
        """Pass an event that no log keeps to all live subscribers."""
        for subscriber in (*self.fast_subscribers, *self.subscribers, *self.ahead_of_feed):
            subscriber.receive_ephemeral(event)

    def _write_by_protocol(self, events: Sequence[Event], encoded: EncodedEvents) -> None:
        sources = {event.source for event in events if event.source is not None}
        targets: defaultdict[Encode, dict[FastSubscriber, WriteTarget]] = defaultdict(dict)
        for subscriber, target in list(self.fast_subscribers.items()):
            if sources and subscriber.source_id in sources:
                others = [event for event in events if event.source != subscriber.source_id]
                subscriber.write_rest(EncodedEvents(others).frames(subscriber.encode))
            else:
                targets[subscriber.encode][subscriber] = target
        self.speaks_other = targets.keys() != {FastSubscriber.encode}
        for encode, subscribers in targets.items():
            _write(subscribers, encoded.frames(encode))

    def deliver_to(self, subscriber: FastSubscriber, events: Sequence[Event]) -> None:
        """Pass the last events to one subscriber, by the route that it has now."""
        encoded = EncodedEvents(events)
        if subscription := self.subscribers.get(subscriber):
            self._deliver([(subscriber, subscription)], encoded)
        elif target := self.fast_subscribers.get(subscriber):
            _write({subscriber: target}, encoded.frames(subscriber.encode))

    def go_live(
        self,
        subscriber: Subscriber,
        subscription: ChannelSubscription,
        page: Page,
        *,
        recovered: bool,
    ) -> None:
        """Pass the last page of the history to a subscriber, and deliver events from there on."""
        # Nothing may run between these steps: an event fanned out meanwhile would be lost.
        buffered = self.stop_reading(subscriber)
        subscriber.subscribed(subscription, page, recovered=recovered)
        here, is_slow = page.top, False
        for item in buffered:
            if is_slow and not isinstance(item, Reset):
                continue
            reached = self._deliver_buffered(subscriber, subscription, item, here)
            is_slow |= reached is None
            here = reached or here
        if is_slow:
            self.pause(subscriber, subscription)
        elif _has_reached(self.position, here):
            self._add(subscriber, subscription)
        else:
            subscription.position = here
            self.ahead_of_feed = _with(self.ahead_of_feed, subscriber, subscription)

    def reset(self, reset: Reset) -> None:
        """Move all subscribers to the reset's position, except those that have read past it.

        Paused subscribers are included, because an offset without its epoch is ambiguous.
        """
        self.position = reset.top
        for subscriber, subscription in list(self.ahead_of_feed.items()):
            if not (subscription.position and _has_reached(subscription.position, reset.top)):
                self._leave_ahead(subscriber, subscription)
        for subscriber in (*self.fast_subscribers, *self.subscribers, *self.paused):
            subscriber.reset(self.channel, reset)
        self._buffer([reset])

    def _buffer(self, items: Sequence[Event | Reset]) -> None:
        for subscription in self.reading_history.values():
            if subscription.buffer is not None:
                subscription.buffer.extend(items)

    def _deliver_buffered(
        self,
        subscriber: Subscriber,
        subscription: ChannelSubscription,
        item: Event | Reset,
        here: Position,
    ) -> Position | None:
        """Deliver what arrived while the history was read, unless the history had it.

        Return the position afterwards, or None where the subscriber takes no more.
        """
        if isinstance(item, Reset):
            if _has_reached(here, item.top):
                return here
            subscriber.reset(self.channel, item)
            return item.top
        position = item.position
        if position is None or position.epoch != here.epoch or position.offset <= here.offset:
            return here
        messages = [subscriber.encode(item)]
        return position if subscriber.deliver(subscription, messages) else None

    def _deliver(
        self,
        subscribers: Iterable[tuple[Subscriber, ChannelSubscription]],
        encoded: EncodedEvents,
    ) -> None:
        slow = [
            (subscriber, subscription)
            for subscriber, subscription in subscribers
            if not subscriber.deliver(subscription, encoded.messages(subscriber.encode))
        ]
        for subscriber, subscription in slow:
            # A delivery can close the connection, which removes the subscriber.
            if subscriber in self.subscribers or subscriber in self.fast_subscribers:
                self.pause(subscriber, subscription)

    def _add(self, subscriber: Subscriber, subscription: ChannelSubscription) -> None:
        """Make a subscriber live, by the route that it offers now."""
        if isinstance(subscriber, FastSubscriber):
            self.fast_subscribers.pop(subscriber, None)
            target = subscriber.write_target(subscription)
            if target is not None:
                self.subscribers.pop(subscriber, None)
                self.fast_subscribers[subscriber] = target
                self.speaks_other |= subscriber.encode is not FastSubscriber.encode
                return
        self.subscribers = _with(self.subscribers, subscriber, subscription)

    def _leave_ahead(self, subscriber: Subscriber, subscription: ChannelSubscription) -> None:
        del self.ahead_of_feed[subscriber]
        subscription.position = None
        self._add(subscriber, subscription)

    def _catch_up_all(self, events: Sequence[Event]) -> None:
        """Make the subscribers live that the feed has caught up with."""
        for subscriber, subscription in list(self.ahead_of_feed.items()):
            here = subscription.position
            if not here or not _has_reached(self.position, here):
                continue
            self._leave_ahead(subscriber, subscription)
            missing = self.position.offset - here.offset
            here_now = events[-1 - missing] if missing < len(events) else None
            if here_now and here.id and here_now.id != here.id:
                # The log was rolled back after it was read: here it has another event by now.
                subscriber.reset(self.channel, Reset(reason="regressed", top=self.position))
            elif missing:
                self._deliver([(subscriber, subscription)], EncodedEvents(events[-missing:]))


def _write(subscribers: Mapping[FastSubscriber, WriteTarget], frames: bytes) -> None:
    """Write frames to sockets; a short write leaves the rest to its connection, with a buffer."""
    connections = list(subscribers)
    for index, sent in sending.send_all(subscribers.values(), frames):
        connections[index].write_rest(frames[sent:])


def _has_reached(here: Position, there: Position) -> bool:
    """Return whether `here` is at or past `there`, in the same epoch."""
    return here.epoch == there.epoch and here.offset >= there.offset


def _position_of(event: Event) -> Position:
    """Return an event's position with its id."""
    position = event.position
    assert position
    return position if position.id else Position(position.epoch, position.offset, event.id)


def _with(entries: dict[Subscriber, V], subscriber: Subscriber, value: V) -> dict[Subscriber, V]:
    """Return the dictionary with the entry added: a new one in place of the shared one."""
    if entries is _EMPTY:
        return {subscriber: value}
    entries[subscriber] = value
    return entries
