"""Events of one fan-out, encoded once for each protocol that subscribers speak."""

from collections.abc import Callable, Sequence

from realtime_bridge.model.event import Event
from realtime_bridge.protocol.wire.websocket_frames import encode_frame

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
