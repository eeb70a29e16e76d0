"""Positions of several channels in the id of a server-sent event."""

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from realtime_bridge.model.channel import ALPHABET, MAX_CHANNEL
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset

_DIGEST_CHARACTERS = 4

# No channel has a slash, a colon, a tilde or a space, while many have `=`, `,` and `;`.
_ENTRY = re.compile(
    rf"([{ALPHABET}]{{1,{MAX_CHANNEL}}})/([^~ ]+)(?:~([0-9a-f]{{{_DIGEST_CHARACTERS}}}))?"
)


class ResumePoint(NamedTuple):
    """Place from which the reader of one channel resumes.

    Args:
        position: the position, without the event's id.
        digest: digest of the id of the event there; None if it is not known.

    """

    position: Position
    digest: str | None = None


def point_at(position: Position) -> ResumePoint:
    """Return the place of a reader that has all up to a position."""
    has_event = position.offset and position.id
    return ResumePoint(position, digest_of(position.id or "") if has_event else None)


def encode_entry(channel: str, point: ResumePoint) -> str:
    """Return the entry of a channel, `CHANNEL/EPOCH:OFFSET~DIGEST`."""
    digest = f"~{point.digest}" if point.digest else ""
    return f"{channel}/{point.position}{digest}"


def join_entries(entries: Iterable[str]) -> str:
    """Return the id of an event, from the entries of all channels of its stream."""
    return " ".join(entries)


def parse_last_event_id(text: str) -> dict[str, ResumePoint]:
    """Return where each channel resumes, from the id of the last event that a reader has.

    Raises:
        ValueError: the text is no id of such a stream.

    """
    points: dict[str, ResumePoint] = {}
    for entry in text.split(" ") if text else ():
        match = _ENTRY.fullmatch(entry)
        if match is None or match[1] in points:
            raise ValueError(
                f"Bad last event id {text[:160]!r}: send back the id of an event, "
                "CHANNEL/EPOCH:OFFSET~DIGEST for each channel"
            )
        points[match[1]] = ResumePoint(Position.parse(match[2]), match[3])
    return points


def before(point: ResumePoint) -> Position | None:
    """Return the position to read one event after, for `identify`; None where that is needless."""
    position = point.position
    if point.digest is None or not position.offset:
        return None
    return Position(position.epoch, position.offset - 1)


def identify(point: ResumePoint, answer: Page | Reset) -> Position | None:
    """Return the position with the id of its event; None if the log has another event there.

    Args:
        point: the place from which a reader resumes.
        answer: the log's answer to a read of one event after `before(point)`.

    """
    event_id = _id_at(point.position, answer)
    if event_id is None:
        # Trimmed, or of another epoch: the read after this position reports a gap, if there is one.
        return point.position
    if digest_of(event_id) != point.digest:
        return None
    return Position(point.position.epoch, point.position.offset, event_id)


# Every stream of a channel has the same id to encode at the same time.
@lru_cache(maxsize=1024)
def digest_of(event_id: str) -> str:
    """Return the digest of an event's id, which keeps the id of a stream's events short."""
    return sha256(event_id.encode()).hexdigest()[:_DIGEST_CHARACTERS]


def _id_at(position: Position, answer: Page | Reset) -> str | None:
    events = answer.events if isinstance(answer, Page) else ()
    if events and events[0].position == position:
        return events[0].id
    return answer.top.id if answer.top == position else None
