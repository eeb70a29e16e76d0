"""Division of a push into requests to Ably's REST API, with each channel's order kept."""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

MAX_PUBLICATION_BYTES = 65_536
"""Ably's limit for one publication: the names and data of its messages together."""

MAX_PUBLICATION_MESSAGES = 100
"""The most messages of one publication. Ably accepts 1,000, but delivers them in one frame."""

MAX_REQUEST_CHANNELS = 100
"""Ably's limit for one batch request."""

MAX_REQUEST_BYTES = 1024 * 1024
"""The most bytes of one request. Ably accepts 2 MiB, its encoding included."""


class EncodedEvent(Struct, frozen=True, kw_only=True):
    """Event for Ably: the channel's name at Ably, the event's id, and its frame."""

    channel: str
    id: str
    frame: bytes


class Publication(Struct, frozen=True, kw_only=True):
    """Messages that Ably publishes on one channel together: in order, and all or none."""

    channel: str
    messages: tuple[EncodedEvent, ...]

    @property
    def size(self) -> int:
        """Bytes of the frames."""
        return sum(len(message.frame) for message in self.messages)

    @property
    def ids(self) -> list[str]:
        """Ids for Ably's idempotency.

        Several messages of one publication need one base with `:0`, `:1`, …; Ably rejects other
        ids with code 40031. A repeated push forms the same publications, and so the same ids.
        """
        if len(self.messages) == 1:
            return [self.messages[0].id]
        return [f"{self.messages[0].id}:{index}" for index in range(len(self.messages))]


def split_into_requests(
    events: Iterable[EncodedEvent], overhead: int
) -> Iterator[list[Publication]]:
    """Yield the publications of each request, to be sent one request after the other.

    No request has two publications of one channel: Ably guarantees no order within a request.

    Args:
        events: the events, in order.
        overhead: bytes of each message besides its frame.

    """
    remaining = _by_channel(events, overhead)
    while remaining:
        next_of_each = [publications.pop(0) for publications in remaining]
        remaining = [publications for publications in remaining if publications]
        yield from _split_by_size(next_of_each)


def _by_channel(events: Iterable[EncodedEvent], overhead: int) -> list[list[Publication]]:
    channels: dict[str, list[list[EncodedEvent]]] = {}
    for event in events:
        groups = channels.setdefault(event.channel, [[]])
        if not _fits(groups[-1], event, overhead):
            groups.append([])
        groups[-1].append(event)
    return [
        [Publication(channel=channel, messages=tuple(group)) for group in groups]
        for channel, groups in channels.items()
    ]


def _fits(group: Sequence[EncodedEvent], event: EncodedEvent, overhead: int) -> bool:
    size = sum(len(message.frame) + overhead for message in (*group, event))
    within_limits = size <= MAX_PUBLICATION_BYTES and len(group) < MAX_PUBLICATION_MESSAGES
    return not group or within_limits


def _split_by_size(publications: Iterable[Publication]) -> Iterator[list[Publication]]:
    request: list[Publication] = []
    size = 0
    for publication in publications:
        is_full = (
            len(request) == MAX_REQUEST_CHANNELS or size + publication.size > MAX_REQUEST_BYTES
        )
        if request and is_full:
            yield request
            request, size = [], 0
        request.append(publication)
        size += publication.size
    if request:
        yield request
