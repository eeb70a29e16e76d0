"""Subscriber that keeps a state: the latest events of a channel, then each event that follows."""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.log import Log
from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.server.fanout.subscriber import Subscriber
from realtime_bridge.server.services import ConnectionServices


class HeldEvent(bytes):
    """Event as the message of followers, which need no encoding."""

    event: Event


class StateFollower(Subscriber):
    """Follower of one channel, in a started server; a subclass keeps the state.

    Args:
        channel: the channel's name.
        log: the log.
        services: the parts of the server.

    """

    def __init__(self, channel: str, log: Log, services: ConnectionServices) -> None:
        self.channel: str = channel
        """Name of the channel."""
        self._log = log
        self._services = services
        self._subscription = ChannelSubscription(channel)
        self._top: Position | None = None
        """Position of the loaded state; None while it is missing."""
        self._early: list[Event] = []
        """Events that arrived while the state was read."""
        self._is_stale = False
        self._loading: asyncio.Task[None] | None = None

    @abstractmethod
    def load(self, events: Sequence[Event]) -> None:
        """Begin with the latest event of each key, at first and after each reset."""

    @abstractmethod
    def handle(self, event: Event) -> None:
        """Handle the next event."""

    async def wait_loaded(self) -> None:
        """Wait until the state was read from the log; the first call begins to follow.

        Raises:
            Exception: an unexpected one, with which the reading ended.

        """
        if self._loading is None or (self._loading.done() and self._top is None):
            self._loading = self._load()
        await asyncio.shield(self._loading)

    def close(self) -> None:
        """End the subscription."""
        if self._loading:
            self._loading.cancel()
        self._services.hub.unsubscribe(self, self.channel)

    @staticmethod
    def encode(event: Event) -> bytes:
        """Return the event itself, for all followers."""
        message = HeldEvent()
        message.event = event
        return message

    def deliver(self, subscription: ChannelSubscription, messages: Sequence[bytes]) -> bool:
        """Handle the next events, or keep them until the state before them is read."""
        del subscription
        for message in messages:
            assert isinstance(message, HeldEvent)
            if self._top is None:
                self._early.append(message.event)
            else:
                self._handle_new(message.event, self._top)
        return True

    def subscribed(self, subscription: ChannelSubscription, page: Page, *, recovered: bool) -> None:
        """Do nothing: the state is read afterwards."""
        del page, recovered
        subscription.opening = subscription.behind = False

    def reset(self, channel: str, reset: Reset) -> None:
        """Read the state again: events are missing."""
        del channel, reset
        self._is_stale = True
        if self._top is not None:
            self._loading = self._load()

    def _load(self) -> "asyncio.Task[None]":
        self._top = None
        tasks = self._services.tasks
        assert tasks
        return tasks.spawn("state of a channel", self._load_until_current())

    async def _load_until_current(self) -> None:
        services = self._services
        while self._top is None:
            self._is_stale = False
            self._early.clear()
            try:
                if self._subscription.opening:
                    await services.hub.subscribe(self, self._subscription, None)
                page = await read_latest(self._log, self.channel)
            except RealtimeError as error:
                services.status.outage.failed(error, channel=self.channel)
                await asyncio.sleep(services.timing.restart)
                continue
            if not self._is_stale:
                self._begin(page)

    def _begin(self, page: Page) -> None:
        self._top = page.top
        self.load(page.events)
        for event in self._early:
            self._handle_new(event, page.top)
        self._early.clear()

    def _handle_new(self, event: Event, top: Position) -> None:
        position = event.position
        assert position
        if position.epoch != top.epoch or position.offset > top.offset:
            self.handle(event)


async def read_latest(log: Log, channel: str) -> Page:
    """Return the latest event of each key of a channel, on one page.

    Raises:
        PublishError: the log cannot be read.

    """
    page = await backend_call(log, log.latest, channel)
    events, top = list(page.events), page.top
    while page.more:
        position = page.events[-1].position
        assert position
        page = await backend_call(log, log.latest, channel, after=position.offset)
        events += page.events
    return Page(events=tuple(events), top=top)
