"""Encoding of events for backends with a size limit: whole, or as a stub that clients fetch."""

from realtime_bridge.errors import PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.wire import messages


def packed(event: Event, limit: int, carrier: str) -> bytes:
    """Return the event's frame, or its stub's if the frame is over the limit.

    Args:
        event: the event; its position shows that a log has it.
        limit: the largest frame, in bytes.
        carrier: the backend's name, for the error.

    Raises:
        PublishError: the frame is over the limit, and no log has the event.

    """
    frame = messages.encode_event(event)
    if len(frame) <= limit:
        return frame
    if event.position is None:
        raise PublishError(
            f"{event.event} on {event.channel} has {len(frame):,} bytes, over the limit of "
            f"{limit:,} of {carrier}: publish less data, or set REALTIME_LOG so that clients fetch it"
        )
    return messages.encode_stub(event.channel, event.position)
