"""Interfaces of what receives the events of a channel, and the events as those receive them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.protocol.wire.messages import encode_event
from realtime_bridge.protocol.wire.websocket_frames import encode_frame
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

    def receive_ephemeral(self, event: EphemeralEvent) -> None:
        """Receive an event that no log keeps: most protocols promise positions, and drop it."""
        del event


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


Encode = Callable[[Event], bytes]
"""Encoder of an event for the subscribers of one protocol."""


class EncodedEvents:
    """Events, and what each encoder made of them.

    Args:
        events: the events, in order.

    """

    __slots__ = ("_events", "_messages")

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._messages: dict[Encode, list[bytes]] = {}

    def messages(self, encode: Encode) -> list[bytes]:
        """Return the message of each event; the first call of an encoder makes them."""
        messages = self._messages.get(encode)
        if messages is None:
            messages = self._messages[encode] = [encode(event) for event in self._events]
        return messages

    def frames(self, encode: Encode) -> bytes:
        """Return the messages as WebSocket frames, in one piece."""
        return b"".join(map(encode_frame, self.messages(encode)))
