"""Channels of one stream of plain events: opened one after another, and encoded for its reader."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.log import Log
from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.protocol.wire import messages as wire
from realtime_bridge.protocol.wire.last_event_id import (
    ResumePoint,
    before,
    encode_entry,
    identify,
    join_entries,
    point_at,
)
from realtime_bridge.protocol.wire.plain_events import (
    Form,
    encode_id,
    encode_plain_event,
    encode_plain_reset,
    split_message,
)
from realtime_bridge.server.endpoints.response_outbox import ResponseOutbox
from realtime_bridge.server.fanout.subscriber import Subscriber
from realtime_bridge.server.services import ConnectionServices


class StreamRequest(NamedTuple):
    """Request for a stream.

    Args:
        channels: the channels, each once.
        form: the form of the events' data.
        with_snapshot: whether the latest events come first, for a channel without a position.
        points: the places from which channels resume.

    """

    channels: tuple[str, ...]
    form: Form
    with_snapshot: bool
    points: dict[str, ResumePoint]


class EventChannels(Subscriber):
    """Subscriptions of one stream, whose events and positions are queued for the reader.

    Args:
        services: the parts of the server.
        log: the log.
        wanted: the request.
        outbox: the queue of the response.
        on_slow: called when the reader is too slow.

    """

    def __init__(
        self,
        services: ConnectionServices,
        log: Log,
        wanted: StreamRequest,
        outbox: ResponseOutbox,
        on_slow: Callable[[], None],
    ) -> None:
        self._services = services
        self._log = log
        self._form = wanted.form
        self._with_snapshot = wanted.with_snapshot
        self._outbox = outbox
        self._on_slow = on_slow
        self._starts: dict[str, ResumePoint | Position | None] = {
            channel: wanted.points.get(channel) for channel in wanted.channels
        }
        """Place of each channel from which it is opened next; None is now."""
        # A point stays in the line until its channel is open: the reader keeps the last id alone.
        self._points = dict(wanted.points)
        self._subscriptions: dict[str, ChannelSubscription] = {}
        # A dictionary, as an ordered set: a channel that is reset twice is opened once.
        self._to_open: dict[str, None] = dict.fromkeys(wanted.channels)
        self._has_to_open = asyncio.Event()
        self._has_to_open.set()

    def __contains__(self, channel: str) -> bool:
        return channel in self._starts

    def __iter__(self) -> Iterator[str]:
        return iter(self._starts)

    def deliver(self, subscription: ChannelSubscription, messages: Sequence[bytes]) -> bool:
        """Queue events, unless as many bytes wait as allowed."""
        if self._subscriptions.get(subscription.channel) is not subscription:
            return False
        if self._outbox.unsent_bytes > self._services.unsent_bytes:
            self._on_slow()
            return False
        for message in messages:
            self._add_event(subscription.channel, message)
        return True

    def subscribed(self, subscription: ChannelSubscription, page: Page, *, recovered: bool) -> None:  # noqa: ARG002
        """Queue the history; its next page is read once the reader has this one."""
        channel, reached = subscription.channel, wire.reached(page)
        if self._subscriptions.get(channel) is not subscription:
            return
        for event in page.events:
            self._add_event(channel, wire.encode_event(event))
        self._points[channel] = point_at(reached)
        if page.more:
            self._open_later(channel, reached)
        elif not page.events:
            # Else a reader that is cut before the first event would begin after it.
            self._outbox.add(encode_id(self._line))

    def reset(self, channel: str, reset: Reset) -> None:
        """Queue a reset, and a snapshot if the reader wants one."""
        self._starts[channel] = self._after_reset(reset.top)
        self._points[channel] = point_at(reset.top)
        if self._with_snapshot:
            self._subscriptions.pop(channel, None)
            # A reader that is cut now gets the snapshot when it comes back.
            self._points.pop(channel)
            self._open_later(channel, None)
        self._outbox.add(encode_plain_reset(channel, reset, self._line))

    async def open_all(self) -> None:
        """Open the channels, and again those that have more to read; never return.

        While the log does not answer, the reader waits: comments keep the stream open.
        """
        services = self._services
        while True:
            await self._has_to_open.wait()
            # Pages of history wait in the log, not in memory.
            await self._outbox.wait_until_sent()
            channel = next(iter(self._to_open))
            del self._to_open[channel]
            try:
                await self._open(channel)
            except RealtimeError as error:
                services.status.outage.failed(error, channel=channel)
                self._to_open[channel] = None
                await asyncio.sleep(services.timing.restart)
            if not self._to_open:
                self._has_to_open.clear()

    def leave(self) -> None:
        """End all subscriptions."""
        self._subscriptions.clear()
        for channel in self._starts:
            self._services.hub.unsubscribe(self, channel)

    @property
    def _line(self) -> str:
        return join_entries(encode_entry(*entry) for entry in self._points.items())

    def _after_reset(self, top: Position) -> Position | None:
        return None if self._with_snapshot else top

    def _open_later(self, channel: str, start: ResumePoint | Position | None) -> None:
        self._starts[channel] = start
        self._to_open[channel] = None
        self._has_to_open.set()

    def _add_event(self, channel: str, message: bytes, *, moves: bool = True) -> None:
        """Queue an event; it moves the channel's point if the reader has all before it."""
        name, position, body = split_message(message)
        if moves:
            self._points[channel] = point_at(position)
        self._outbox.add(encode_plain_event(name, body, message, form=self._form, line=self._line))

    async def _open(self, channel: str) -> None:
        """Subscribe to a channel, from where the reader is."""
        self._services.hub.unsubscribe(self, channel)
        start = self._starts[channel]
        if isinstance(start, ResumePoint):
            start = await self._identify(channel, start)
            if start is None:
                return
        elif start is None and self._with_snapshot:
            start = await self._add_snapshot(channel)
        self._starts[channel] = start
        subscription = self._subscriptions[channel] = ChannelSubscription(channel)
        await self._services.hub.subscribe(self, subscription, start)

    async def _identify(self, channel: str, point: ResumePoint) -> Position | None:
        """Return the position with its event's id, by which the log checks it.

        Queue a reset, and return None, where the log has another event there: it was rolled back.
        """
        earlier = before(point)
        if earlier is None:
            return point.position
        answer = await backend_call(self._log, self._log.read, channel, earlier, 1)
        position = identify(point, answer)
        if position is None:
            self.reset(channel, Reset(reason="regressed", top=answer.top))
            self._open_later(channel, self._after_reset(answer.top))
        return position

    async def _add_snapshot(self, channel: str) -> Position:
        """Queue the latest event of each key, and return the position that they describe."""
        # A reader that is cut before the last of them has no point here, and gets all again.
        self._points.pop(channel, None)
        offset, epoch = 0, ""
        while True:
            await self._outbox.wait_until_sent()
            page = await backend_call(self._log, self._log.latest, channel, after=offset)
            if page.top.epoch != epoch and offset:
                offset = 0  # offsets of another epoch: begin again
                continue
            for event in page.events if page.more else page.events[:-1]:
                self._add_event(channel, wire.encode_event(event), moves=False)
            if not page.more:
                break
            last = page.events[-1].position
            assert last
            offset, epoch = last.offset, last.epoch
        self._points[channel] = point_at(page.top)
        for event in page.events[-1:]:
            self._add_event(channel, wire.encode_event(event), moves=False)
        return page.top
