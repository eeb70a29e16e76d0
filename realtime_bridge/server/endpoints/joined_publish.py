"""Publish of several batches at once, each with its own receipts or its own error."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

from realtime_bridge.backend.log import Result
from realtime_bridge.errors import InvalidEventError, PublishError, RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.protocol.publishing.chunks import grouped

Publish = Callable[[Sequence[Event]], Awaitable[list[Receipt]]]


async def publish_joined(
    publish: Publish, batches: Sequence[list[Event] | InvalidEventError]
) -> list[Result]:
    """Publish batches in order, and return the result of each; one that is an error is its own."""
    valid = [batch for batch in batches if isinstance(batch, list)]
    published: list[Result] = []
    for group in grouped(valid):
        published += await _publish_group(publish, group)
    results = iter(published)
    return [next(results) if isinstance(batch, list) else batch for batch in batches]


async def _publish_group(publish: Publish, group: Sequence[Sequence[Event]]) -> list[Result]:
    """Publish a group as one batch, and each batch alone where that fails for good."""
    try:
        receipts = iter(await publish([event for batch in group for event in batch]))
    except RealtimeError as error:
        # A failure that may pass: each worker's publish is repeated after a random delay of its
        # own, and so apart from the others. In an outage, one wait for the log is enough.
        if len(group) == 1 or (isinstance(error, PublishError) and error.retryable):
            return [error] * len(group)
        results: list[Result] = []
        for batch in group:
            results += await _publish_group(publish, [batch])
        return results
    return [list(islice(receipts, len(batch))) for batch in group]
