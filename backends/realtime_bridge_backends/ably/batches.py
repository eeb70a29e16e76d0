"""How a push is cut into calls of Ably's REST API, each channel's order kept."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MESSAGE_BYTES = 65_536
"""The most bytes of one publish: its messages' names and data, together."""

MESSAGES = 100
"""The most messages of one publish; Ably takes 1,000, but delivers them as one frame."""

CHANNELS = 100
"""The most channels of one call."""

CALL_BYTES = 1024 * 1024
"""The most bytes of one call; Ably takes 2 MiB, encoding included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What one event is at Ably: its channel's name there, its id, and its frame."""

    channel: str
    id: str
    frame: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What Ably publishes on one channel as one: in order, and all or nothing."""

    channel: str
    messages: tuple[Packed, ...]

    @property
    def size(self) -> int:
        """The bytes of its frames."""
        return sum(len(message.frame) for message in self.messages)

    @property
    def ids(self) -> list[str]:
        """The ids of its messages: our event's, or several of one base, as Ably wants them."""
        if len(self.messages) == 1:
            return [self.messages[0].id]
        return [f"{self.messages[0].id}:{index}" for index in range(len(self.messages))]


def calls(packed: Iterable[Packed], overhead: int) -> Iterator[list[Publication]]:
    """Cut a push into calls, to be made one after the other.

    No call has two publications of one channel: within a call Ably promises no order.

    Args:
        packed: the events, in order.
        overhead: bytes of each message besides its frame.

    """
    waiting = _by_channel(packed, overhead)
    while waiting:
        this_round = [publications.pop(0) for publications in waiting]
        waiting = [publications for publications in waiting if publications]
        yield from _bounded(this_round)


def _by_channel(packed: Iterable[Packed], overhead: int) -> list[list[Publication]]:
    channels: dict[str, list[list[Packed]]] = {}
    for one in packed:
        groups = channels.setdefault(one.channel, [[]])
        if not _fits(groups[-1], one, overhead):
            groups.append([])
        groups[-1].append(one)
    return [
        [Publication(channel=channel, messages=tuple(group)) for group in groups]
        for channel, groups in channels.items()
    ]


def _fits(group: Sequence[Packed], one: Packed, overhead: int) -> bool:
    size = sum(len(message.frame) + overhead for message in (*group, one))
    return not group or (size <= MESSAGE_BYTES and len(group) < MESSAGES)


def _bounded(publications: Iterable[Publication]) -> Iterator[list[Publication]]:
    call: list[Publication] = []
    size = 0
    for publication in publications:
        if call and (len(call) == CHANNELS or size + publication.size > CALL_BYTES):
            yield call
            call, size = [], 0
        call.append(publication)
        size += publication.size
    if call:
        yield call
