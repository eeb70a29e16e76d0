"""Encoding of an event for a provider with a limit: whole, or as a stub that clients fetch."""

from realtime_bridge.errors import PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.wire import messages


def encode_or_stub(event: Event, limit: int, provider: str) -> bytes:
    """Return the event's message if it has at most `limit` bytes, else its stub.

    Raises:
        PublishError: the message is over the limit, and no log has the event.

    """
    message = messages.encode_event(event)
    if len(message) <= limit:
        return message
    if event.position is None:
        raise PublishError(
            f"{event.event} on {event.channel} has {len(message):,} bytes, and {provider} accepts "
            f"{limit:,}: publish less, or set REALTIME_LOG so that clients fetch it"
        )
    return messages.encode_stub(event.channel, event.position)
