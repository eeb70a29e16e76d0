"""Interfaces of what receives the events of a channel."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.protocol.wire.messages import encode_event
from realtime_bridge.server.fanout.sending import WriteTarget


class Subscriber(ABC):
    """Receiver of a channel's events. The hub's loop makes all calls, and never waits for one."""

    __slots__ = ()

    @staticmethod
    def encode(event: Event) -> bytes:
        """Return the message of an event, for all subscribers of the same protocol."""
        return encode_event(event)

    @abstractmethod
    def deliver(self, subscription: ChannelSubscription, messages: Sequence[bytes]) -> bool:
        """Receive the next events, encoded; False pauses delivery until it subscribes again."""

    @abstractmethod
    def subscribed(self, subscription: ChannelSubscription, page: Page, *, recovered: bool) -> None:
        """Receive the history; delivery begins after it, unless the page has more."""

    @abstractmethod
    def reset(self, channel: str, reset: Reset) -> None:
        """Receive a reset: events are missing, and the channel continues elsewhere."""


class FastSubscriber(Subscriber):
    """Subscriber whose socket the fan-out writes to, as long as the socket takes everything."""

    __slots__ = ()

    @property
    def source_id(self) -> str | None:
        """The `source` of events that this subscriber caused, and does not get; None gets all."""
        return None

    @abstractmethod
    def write_target(self, subscription: ChannelSubscription) -> WriteTarget | None:
        """Return the target for events, or None while they have to go through `deliver`.

        When the answer changes, the subscriber calls `Hub.update_route`.
        """

    @abstractmethod
    def write_rest(self, rest: bytes) -> None:
        """Write the bytes that the target did not take."""
