"""View of one client: its path through each channel, and the times at which it had each event."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from tests.lab.history import PLAIN, Record

RULES = (
    "lost", "gap", "duplicate", "merged", "silent", "current", "green", "late", "reset", "error",
    "publish", "door", "memory", "log",
)  # fmt: skip
"""Rules of the oracle, the gravest first."""


class Violation(NamedTuple):
    """Violation of a rule by one process."""

    rule: str
    at: float
    source: str
    channel: str
    text: str


class Interval(NamedTuple):
    """Interval in which a client was silent and green on a channel."""

    begin: float
    end: float
    channel: str

    @property
    def seconds(self) -> float:
        """Length."""
        return self.end - self.begin


class Acknowledgements:
    """Events that the log acknowledged, by channel in the order of time."""

    def __init__(self, events: Iterable[Record]) -> None:
        self.events = sorted(events, key=lambda event: event.at)
        self._channels: dict[str, list[Record]] = {}
        self._ages: dict[tuple[str, str], int] = {}
        for event in self.events:
            self._channels.setdefault(event.channel, []).append(event)
            if event.epoch:
                self._ages.setdefault((event.channel, event.epoch), len(self._ages))

    def between(self, channel: str, begin: float, end: float) -> Sequence[Record]:
        """Return the events of a channel in a period."""
        events = self._channels.get(channel, [])
        low = bisect_right(events, begin, key=lambda event: event.at)
        return events[low : bisect_right(events, end, key=lambda event: event.at)]

    def covers(self, cover: Record, event: Record) -> bool:
        """Return whether a client at the position of `cover` needs this event no longer."""
        if cover.epoch == event.epoch:
            return cover.offset >= event.offset
        return self._age(event.channel, cover.epoch) > self._age(event.channel, event.epoch)

    def _age(self, channel: str, epoch: str) -> int:
        return self._ages.get((channel, epoch), len(self._ages))


class ClientView:
    """Records of one client, and what follows from them."""

    def __init__(self, name: str, records: Sequence[Record], end: float) -> None:
        self.name = name
        self.has_ended = any(record.kind == "end" for record in records)
        self.start = min((record.at for record in records), default=end)
        ends = [record.at for record in records if record.kind == "end"]
        ready = [record.at for record in records if record.kind == "ready"]
        self.end = min([end, *ends])
        self.begin = min([self.end, *ready])
        self.pushes = "poll" not in name.split("-")
        self.healthy = _healthy_status(name)
        self.events = [record for record in records if record.kind == "event"]
        self.resets = [record for record in records if record.kind == "reset"]
        self.violations: list[Violation] = []
        self.events_due: list[tuple[Record, float | None]] = []
        """Acknowledged events after the start, and the time at which the client had each."""
        self._statuses = [record for record in records if record.kind == "status"]
        self._channels: dict[str, list[Record]] = {}
        for record in records:
            if record.channel:
                self._channels.setdefault(record.channel, []).append(record)
            elif record.kind == "error":
                self._violate("error", record, record.text)
        for own in self._channels.values():
            self._check_path(own)

    @property
    def status(self) -> str:
        """Last status."""
        return self._statuses[-1].text if self._statuses else "starting"

    @property
    def is_healthy(self) -> bool:
        """True if the last status is the best that the client's transport has."""
        return self.status == self.healthy

    def compare(self, log: Acknowledgements) -> None:
        """Find the time at which the client had each acknowledged event of its channels."""
        for channel, own in self._channels.items():
            due = log.between(channel, self.begin, self.end)
            self.events_due += zip(due, _times(due, own, log), strict=True)

    @cached_property
    def silent_green(self) -> Interval:
        """Longest interval in which the client was silent and green, and lacked an event."""
        return max(
            (interval for channel in self._channels for interval in self._silent_green(channel)),
            key=lambda interval: interval.seconds,
            default=Interval(self.begin, self.begin, ""),
        )

    def last_unhealthy(self, after: float) -> float:
        """Return the time from which on the client was healthy."""
        periods = _periods(self._statuses, self.end, lambda status: status != self.healthy)
        return max([after, *(end for _, end in periods)])

    def last_late(self, begin: float, end: float, *, late: float) -> float:
        """Return the latest time at which an event, acknowledged before `end`, came late."""
        return max(
            [
                begin,
                *(
                    obtained or self.end
                    for event, obtained in self.events_due
                    if event.at < end - late
                    and (obtained or self.end) > begin
                    and (obtained or self.end) - event.at > late
                ),
            ]
        )

    def _check_path(self, records: Sequence[Record]) -> None:
        """Check one channel: contiguous within an epoch, or a reset lies between; no duplicate."""
        ids: set[str] = set()
        last: Record | None = None
        for record in records:
            if record.kind == "event":
                if record.id in ids:
                    self._violate("duplicate", record, f"{record.id} arrived twice")
                elif last and record.place != (last.epoch, last.offset + 1):
                    text = f"{record.epoch}:{record.offset} follows {last.epoch}:{last.offset}"
                    self._violate("gap", record, f"{text} without reset")
                ids.add(record.id)
            elif record.kind == "reset" and not record.epoch:
                self._violate("error", record, f"channel ended: {record.text}")
            elif record.kind == "snapshot" and last and last.kind == "event":
                self._violate("gap", record, "snapshot without reset")
            last = record

    def _silent_green(self, channel: str) -> Iterator[Interval]:
        """Yield the periods without a receipt, green, with an acknowledged event missing."""
        missing = sorted(
            (obtained or self.end, event.at)
            for event, obtained in self.events_due
            if event.channel == channel
        )
        green = list(_periods(self._statuses, self.end, lambda status: status == "realtime"))
        receipts = [record.at for record in self._channels[channel] if record.at > self.begin]
        times = [self.begin, *receipts, self.end]
        earliest = self.end  # acknowledgement of an event that is missing after the period
        number = len(missing)
        for begin, end in zip(reversed(times[:-1]), reversed(times[1:]), strict=True):
            while number and missing[number - 1][0] >= end:
                number -= 1
                earliest = min(earliest, missing[number][1])
            start = max(begin, earliest)
            for green_begin, green_end in green:
                low, high = max(start, green_begin), min(end, green_end)
                if high > low:
                    yield Interval(low, high, channel)

    def _violate(self, rule: str, record: Record, text: str) -> None:
        self.violations.append(Violation(rule, record.at, self.name, record.channel, text))


def _healthy_status(name: str) -> str:
    """Return the best status of a client, by its name; a plain stream knows no other."""
    if name.startswith(PLAIN):
        return "open"
    return "polling" if "poll" in name.split("-") else "realtime"


def _times(
    due: Sequence[Record], records: Sequence[Record], log: Acknowledgements
) -> Iterator[float | None]:
    """Yield for each event the time at which it arrived, or at which a reset covered it."""
    arrivals = {record.id: record.at for record in records if record.kind == "event"}
    covers = [record for record in records if record.kind in ("start", "reset", "snapshot")]
    for event in due:
        covering = (cover.at for cover in covers if log.covers(cover, event))
        yield arrivals.get(event.id) or next(covering, None)


def _periods(
    statuses: Sequence[Record], end: float, is_meant: Callable[[str], bool]
) -> Iterator[tuple[float, float]]:
    """Yield the periods in which the status is of a certain kind."""
    begin: float | None = None
    for record in statuses:
        if is_meant(record.text):
            begin = record.at if begin is None else begin
        elif begin is not None:
            yield begin, record.at
            begin = None
    if begin is not None:
        yield begin, end
