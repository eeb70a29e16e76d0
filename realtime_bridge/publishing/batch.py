"""Limits of a batch: the number of its events, and their sizes."""

from collections.abc import Iterable

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.event import MAX_BATCH, Event


def validate_batch(events: Iterable[Event], limit_event_bytes: int) -> list[Event]:
    """Return the events as a list.

    Raises:
        InvalidEventError: there are more than 500 events, or the data of an event is over the
            limit.

    """
    batch = list(events)
    if len(batch) > MAX_BATCH:
        raise InvalidEventError(
            f"{len(batch)} events at once are over the limit of {MAX_BATCH}: "
            "publish them in several batches"
        )
    for event in batch:
        if len(event.body) > limit_event_bytes:
            raise InvalidEventError(
                f"The data of {event.event} on {event.channel} has {len(event.body):,} bytes, over "
                f"the limit of {limit_event_bytes:,}: publish less, or raise "
                "REALTIME_LIMIT_EVENT_BYTES"
            )
    return batch
