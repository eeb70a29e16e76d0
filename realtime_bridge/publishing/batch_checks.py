"""Checks of what is published together, and the error of an event that the log refused."""

from collections.abc import Sequence

from realtime_bridge.errors import InvalidEventError, KeyOwnedError
from realtime_bridge.model.event import MAX_BATCH, Event


def check_batch(batch: Sequence[Event], limit: int, *, large_integers: bool) -> None:
    """Check the number of events, their sizes and their integers.

    Args:
        batch: events of one call.
        limit: longest data of one event, in bytes of JSON.
        large_integers: whether events may have integers beyond 2^53.

    Raises:
        InvalidEventError: the events break a limit.

    """
    if len(batch) > MAX_BATCH:
        raise InvalidEventError(
            f"A batch has over {MAX_BATCH} events, its limit: publish them in several batches"
        )
    for event in batch:
        if len(event.body) > limit:
            raise InvalidEventError(
                f"The data of {event.event} on {event.channel} has {len(event.body):,} bytes, "
                f"over the limit of {limit:,}: publish less, or raise REALTIME_LIMIT_EVENT_BYTES"
            )
        if event.has_large_integers and not large_integers:
            raise InvalidEventError(
                f"The data of {event.event} on {event.channel} has an integer beyond 2^53, "
                "which browsers round: send it as text, or set REALTIME_LARGE_INTEGERS=on if "
                "no browser reads it"
            )


def owned_key(event: Event) -> KeyOwnedError:
    """Return the error of a plain event whose key has an owner."""
    return KeyOwnedError(
        f"The key {event.key!r} of {event.channel} belongs to a job or a stream: "
        f"publish {event.event} without a key, or with another one"
    )
