"""Records of clients, publishers, nodes and faults, with their times."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from msgspec import Struct, json

Kind = Literal[
    "ready", "start", "event", "reset", "snapshot", "status", "error", "end",  # of a client
    "acknowledged", "failed", "raised",  # of a publisher
    "visited",  # of a visitor of a door
    "delivered",  # of the target of the outlet
    "fault", "healed",  # of the lab
    "memory",  # of a node
    "line",  # of a node's log
]  # fmt: skip

CLIENT: frozenset[str] = frozenset(
    ("ready", "start", "event", "reset", "snapshot", "status", "error", "end")
)

CROWD = "crowd"
"""Beginning of the names of the crowd's clients."""

PLAIN = "plain"
"""Beginning of the names of the plain event streams."""

FREQUENT: frozenset[str] = frozenset(("event", "acknowledged", "visited", "delivered"))
SUMMARY_SECONDS = 5.0
"""Longest time that one line of a story summarizes."""


class Record(Struct, frozen=True, gc=False):
    """Observation of one process.

    Args:
        at: Unix time in seconds.
        source: name of the client, publisher, node or fault.
        kind: the observation.
        channel: channel, if the observation has one.
        id: id of the event.
        epoch: epoch of the position.
        offset: offset of the position.
        seconds: duration of a publish.
        size: resident memory in bytes.
        text: status, reason, error or log line.

    """

    at: float
    source: str
    kind: Kind
    channel: str = ""
    id: str = ""
    epoch: str = ""
    offset: int = 0
    seconds: float = 0.0
    size: int = 0
    text: str = ""

    @property
    def place(self) -> tuple[str, int]:
        """Epoch and offset."""
        return self.epoch, self.offset


@dataclass
class History:
    """All records of one run, in the order of their arrival."""

    records: list[Record] = field(default_factory=list)

    def add(self, line: bytes) -> None:
        """Add a record that a process wrote as a line of JSON."""
        self.records.append(json.decode(line, type=Record))

    def write(self, path: Path) -> None:
        """Write the records as lines of JSON, in the order of time."""
        ordered = sorted(self.records, key=lambda record: record.at)
        path.write_bytes(b"\n".join(map(json.encode, ordered)))

    def of(self, *kinds: Kind) -> Iterator[Record]:
        """Yield the records of these kinds."""
        return (record for record in self.records if record.kind in kinds)

    def since(self, at: float) -> "History":
        """Return all rare records, and the frequent ones from this time on."""
        return History([one for one in self.records if one.at >= at or one.kind not in FREQUENT])

    def by_client(self, *, with_crowd: bool = True) -> dict[str, list[Record]]:
        """Return the records of each client."""
        clients: dict[str, list[Record]] = {}
        for record in self.records:
            if record.kind in CLIENT and (with_crowd or not record.source.startswith(CROWD)):
                clients.setdefault(record.source, []).append(record)
        return clients


def merged(records: Sequence[Record], start: float) -> Iterator[str]:
    """Yield records as lines in the order of time, which counts from `start`.

    Between two other records, the events of each source are one line.
    """
    frequent: list[Record] = []
    for record in sorted(records, key=lambda record: record.at):
        if frequent and (
            record.kind not in FREQUENT or record.at > frequent[0].at + SUMMARY_SECONDS
        ):
            yield from _summary(frequent, start)
            frequent = []
        if record.kind in FREQUENT:
            frequent.append(record)
        else:
            yield _line(record, start)
    yield from _summary(frequent, start)


def _summary(frequent: Sequence[Record], start: float) -> Iterator[str]:
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in frequent:
        groups.setdefault((record.source, record.kind, record.channel), []).append(record)
    for own in groups.values():
        more = f" … {own[-1].epoch}:{own[-1].offset}, {own[-1].at - start:.3f}" if own[1:] else ""
        yield f"{_line(own[0], start)}{more}"


def _line(record: Record, start: float) -> str:
    place = f"{record.epoch}:{record.offset}" if record.epoch else ""
    id_end = "" if record.kind in FREQUENT else record.id
    text = " ".join(part for part in (record.channel, place, id_end, record.text[:150]) if part)
    return f"{record.at - start:8.3f}  {record.source:12} {record.kind:12} {text}"
