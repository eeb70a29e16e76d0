"""An event as a carrier with a limit takes it: whole, or as a stub that clients fetch."""

from realtime_bridge.errors import PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.wire import messages


def encode_or_stub(event: Event, limit: int, carrier: str) -> bytes:
    """Return the event's frame where it is within `limit` bytes, else its stub's.

    Raises:
        PublishError: it is not, and there is no log to fetch it from.

    """
    frame = messages.encode_event(event)
    if len(frame) <= limit:
        return frame
    if event.position is None:
        raise PublishError(
            f"{event.event} on {event.channel} takes {len(frame):,} bytes, and {carrier} carries "
            f"{limit:,}: publish less, or set REALTIME_LOG so that clients fetch it"
        )
    return messages.encode_stub(event.channel, event.position)
