"""Oracle that compares what clients received with what the log acknowledged."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.lab.history import History, Record
from tests.lab.schedule import Limits, Schedule
from tests.lab.view import RULES, Acknowledgements, ClientView, Violation

LATE = 4.0
"""Seconds after which an event that arrives in normal operation counts as late."""


RECENT_SECONDS = 180.0
"""Age of the events at which `is_recovered` looks: more than any fault with its recovery."""

DOORS = ("pusher", "presence", "metrics", "dashboard", "state")
"""Doors that one of the lab's visitors uses all the time."""

DOOR_SECONDS = 30.0
"""Time within which a door was open last, and an event was delivered, at the end of a run."""


@dataclass
class Verdict:
    """Numbers of one run, and its violations."""

    schedule: Schedule
    acknowledged: int = 0
    delivered: int = 0
    resets: int = 0
    silent_green: float = 0.0
    current: float = 0.0
    """Seconds from the last fault's end until all clients received events at once."""
    green: float = 0.0
    """Seconds from the last fault's end until all clients were green."""
    lines: int = 0
    """Log lines of the node with the most."""
    violations: list[Violation] = field(default_factory=list)

    @property
    def is_ok(self) -> bool:
        """True if the run violated nothing."""
        return not self.violations


def judge(history: History, schedule: Schedule, end: float) -> Verdict:
    """Return the verdict of a run that ended at this time."""
    log = Acknowledgements(history.of("acknowledged"))
    clients = [ClientView(name, own, end) for name, own in history.by_client().items()]
    verdict = Verdict(schedule, acknowledged=len(log.events))
    for client in clients:
        client.compare(log)
    quiet = _quiet_periods(history, end) or [(end, end)]
    verdict.delivered = sum(len(client.events) for client in clients)
    verdict.resets = sum(len(client.resets) for client in clients)
    verdict.silent_green = max((client.silent_green.seconds for client in clients), default=0.0)
    last = max(quiet)[0]
    for client in clients:
        if client.has_ended:
            continue
        verdict.current = max(verdict.current, _current(client, last))
        verdict.green = max(verdict.green, _green(client, last))
    lines = Counter(record.source for record in history.of("line"))
    verdict.lines = max(lines.values(), default=0)
    for client in clients:
        verdict.violations += _of_client(client, schedule, quiet)
    verdict.violations += _of_publishers(history, schedule.limits)
    verdict.violations += _of_success(history, log)
    verdict.violations += _of_nodes(history, lines, schedule, end)
    verdict.violations += _of_log(clients, log.events)
    if schedule.has_doors:
        verdict.violations += _of_doors(history, log.events, end)
    verdict.violations.sort(key=lambda found: (RULES.index(found.rule), found.at))
    return verdict


def is_recovered(history: History, now: float, *, late: float = LATE) -> bool:
    """Return whether all clients are green, and have all events but those of the last moment.

    Older events than `RECENT_SECONDS` are left to the verdict: all links lead through the loop of
    the lab, which a look at hours of events would stop for seconds.
    """
    history = history.since(now - RECENT_SECONDS)
    log = Acknowledgements(event for event in history.of("acknowledged") if event.at < now - late)
    for name, own in history.by_client(with_crowd=False).items():
        client = ClientView(name, own, now)
        client.compare(log)
        if not client.is_healthy or any(obtained is None for _, obtained in client.events_due):
            return False
    return True


def _of_client(
    client: ClientView, schedule: Schedule, quiet: list[tuple[float, float]]
) -> Iterator[Violation]:
    limits = schedule.limits
    yield from client.violations
    silent = client.silent_green
    if silent.seconds > limits.silent_green:
        text = f"silent and green for {silent.seconds:.1f} s, limit {limits.silent_green:g} s"
        yield Violation("silent", silent.begin, client.name, silent.channel, text)
    for event, obtained in client.events_due:
        if obtained is None and not client.has_ended:
            text = f"acknowledged event {event.id} never arrived"
            yield Violation("lost", event.at, client.name, event.channel, text)
    if not client.has_ended:
        yield from _of_recovery(client, limits, max(quiet)[0])
    yield from _of_each_fault(client, limits, quiet)
    yield from _delays(client, schedule)
    if limits.resets is not None:
        yield from _resets(client, limits.resets)


def _of_recovery(client: ClientView, limits: Limits, last: float) -> Iterator[Violation]:
    current, green = _current(client, last), _green(client, last)
    if current > limits.current:
        text = f"current {current:.1f} s after the last fault, limit {limits.current:g} s"
        yield Violation("current", last, client.name, "", text)
    is_new = client.start > last
    if green > limits.green or not (client.is_healthy or is_new):
        text = f"{client.status} at the end, {client.healthy} after {green:.1f} s"
        yield Violation("green", last, client.name, "", f"{text}, limit {limits.green:g} s")


def _current(client: ClientView, last: float) -> float:
    return client.last_late(last, client.end, late=LATE) - last


def _green(client: ClientView, last: float) -> float:
    begin = max(last, client.start)  # one of the crowd may have started later
    return client.last_unhealthy(begin) - begin


def _of_each_fault(
    client: ClientView, limits: Limits, quiet: list[tuple[float, float]]
) -> Iterator[Violation]:
    if limits.each is None:
        return
    for begin, end in quiet:
        until = client.last_late(begin, end, late=LATE)
        if until - begin > limits.each:
            text = f"events late until {until - begin:.1f} s after a fault, limit {limits.each:g} s"
            yield Violation("current", begin, client.name, "", text)


def _quiet_periods(history: History, end: float) -> list[tuple[float, float]]:
    """Return the periods between the end of a fault and the beginning of the next one."""
    begins = [record.at for record in history.of("fault")]
    return [
        (healed.at, min([end, *(begin for begin in begins if begin > healed.at)]))
        for healed in history.of("healed")
    ]


def _delays(client: ClientView, schedule: Schedule) -> Iterator[Violation]:
    limit = schedule.limits.delay
    if limit is None or not client.pushes:
        return
    for event, obtained in client.events_due:
        delay = (obtained or client.end) - event.at
        if event.channel not in schedule.channels and delay > limit:
            text = f"{event.id} arrived after {delay:.1f} s, limit {limit:g} s"
            yield Violation("late", event.at, client.name, event.channel, text)


def _resets(client: ClientView, required: frozenset[str]) -> Iterator[Violation]:
    channels = {record.channel for record in client.resets}
    for record in client.resets:
        if record.channel not in required:
            text = f"unexpected reset: {record.text}"
            yield Violation("reset", record.at, client.name, record.channel, text)
    for channel in required - channels:
        yield Violation("reset", client.end, client.name, channel, "no reset")


def _of_publishers(history: History, limits: Limits) -> Iterator[Violation]:
    for record in history.of("raised"):
        yield Violation("error", record.at, record.source, record.channel, f"raised {record.text}")
    for record in history.of("acknowledged", "failed"):
        if record.seconds > limits.publish:
            text = f"publish took {record.seconds:.1f} s, limit {limits.publish:g} s"
            yield Violation("publish", record.at, record.source, record.channel, text)
    if limits.first_publish:
        yield from _first_publishes(history)


def _of_success(history: History, log: Acknowledgements) -> Iterator[Violation]:
    """Yield a violation if no publish succeeds after the last fault: nothing would be proved."""
    last = max((record.at for record in history.of("healed")), default=0.0)
    if log.events and log.events[-1].at < last:
        yield Violation(
            "publish", last, "publisher", "", "no publish succeeded after the last fault"
        )


def _first_publishes(history: History) -> Iterator[Violation]:
    attempts = sorted(
        history.of("acknowledged", "failed"), key=lambda record: record.at - record.seconds
    )
    for start in history.of("healed"):
        later = [record for record in attempts if record.at - record.seconds >= start.at]
        if later and later[0].kind == "failed":
            first = later[0]
            text = f"the first publish after {start.text} failed: {first.text}"
            yield Violation("publish", first.at, first.source, first.channel, text)


def _of_nodes(
    history: History, lines: Mapping[str, int], schedule: Schedule, end: float
) -> Iterator[Violation]:
    limits, begin = schedule.limits, min((record.at for record in history.records), default=end)
    limit = limits.lines * (end - begin) / 3_600
    limit += limits.lines_of_a_fault * len(schedule.faults)
    for node, count in lines.items():
        if count > limit:
            yield Violation("log", begin, node, "", f"{count} log lines, limit {limit:.0f}")
    if limits.growth is not None:
        yield from _of_memory(history, limits.growth)
    for record in history.of("line"):
        if "Traceback" in record.text:
            yield Violation("log", record.at, record.source, "", "traceback in the log")


def _of_doors(history: History, events: Sequence[Record], end: float) -> Iterator[Violation]:
    """Yield the doors that were closed at the end, and events that the outlet did not deliver."""
    last = {record.source: record.at for record in history.of("visited")}
    for door in DOORS:
        if end - last.get(door, 0.0) > DOOR_SECONDS:
            yield Violation("door", last.get(door, end), door, "", "the door was closed at the end")
    delivered = {record.id for record in history.of("delivered")}
    for event in events:
        if event.at < end - DOOR_SECONDS and event.id not in delivered:
            text = f"the outlet did not deliver {event.id}"
            yield Violation("door", event.at, "outlet", event.channel, text)


def _of_memory(history: History, limit: float) -> Iterator[Violation]:
    for node, change in growth(history).items():
        if change > limit:
            text = f"memory grew by {change:.1%} after the warm-up, limit {limit:.0%}"
            yield Violation("memory", history.records[-1].at, node, "", text)


def growth(history: History) -> dict[str, float]:
    """Return the growth of each node's memory from the second third of its samples to the last."""
    samples: dict[str, list[int]] = {}
    for record in history.of("memory"):
        samples.setdefault(record.source, []).append(record.size)
    return {
        node: median(sizes[-third:]) / median(sizes[third : 2 * third]) - 1
        for node, sizes in samples.items()
        if (third := len(sizes) // 3)
    }


def _of_log(clients: list[ClientView], events: list[Record]) -> Iterator[Violation]:
    """Yield each position that two events have."""
    ids: dict[tuple[str, str, int], str] = {}
    for record in (*events, *(event for client in clients for event in client.events)):
        if not record.epoch:
            continue
        known = ids.setdefault((record.channel, *record.place), record.id)
        if known != record.id:
            text = f"{record.epoch}:{record.offset} is {record.id}, and elsewhere {known}"
            yield Violation("merged", record.at, record.source, record.channel, text)
