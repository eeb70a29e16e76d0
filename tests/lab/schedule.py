"""Schedules of faults as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Backend = Literal["redis", "postgres", "sqlite"]
Transport = Literal["auto", "websocket", "sse", "poll"]

ROUTES = ("connect", "poll", "latest", "ws", "sse")
CHANNELS: Mapping[str, float] = {"job.0": 5.0, "job.1": 5.0, "job.2": 2.0, "rare": 0.2}
"""Channels of the schedules, and their events per second."""

_LINK = "a link: front, log:NUMBER, log:* or log:publisher"
_NODE = "a node: node:NUMBER"
_ROUTE = f"a route: {', '.join(ROUTES)}"
_CHANNEL = f"a channel: {', '.join(CHANNELS)}"

KINDS: Mapping[str, str] = {
    "refuse": _LINK,  # the port is closed and connections are reset
    "reset": _LINK,  # connections are accepted, then reset
    "freeze": _LINK,  # nothing passes, connections stay; the bytes arrive afterwards
    "lose": _LINK,  # bytes in both directions are lost
    "lose_up": _LINK,  # bytes towards the server are lost
    "lose_down": _LINK,
    "lose_paging": _LINK,  # bytes towards the server are lost once a page has arrived
    "slow": _LINK,  # 20 kB/s and 200 ms
    "kill": _NODE,  # SIGKILL, started again at the end
    "stop": _NODE,  # SIGSTOP, SIGCONT at the end
    "restart": _NODE,  # SIGTERM, started again at once
    "few_files": _NODE,  # no file descriptor for a further connection
    "shutdown": "server",  # the log's server is shut down, and started at the end
    "crash": "server",  # SIGKILL instead
    "pause": "server",  # SIGSTOP of the log's server
    "wipe": "server",  # the log is lost, and empty at once
    "end_feeds": "server",  # the connections of all listeners are ended
    "kill_publisher": "publisher",
    "burst": _CHANNEL,  # 800 events at once
    "garbage": _CHANNEL,  # bytes on the channel's announcement that are no event
    "newlines": _CHANNEL,  # body in the log with newlines between the tokens
    "surrogate": _CHANNEL,  # body in the log with half a surrogate pair
    **dict.fromkeys(("302", "400", "403", "404", "413", "502"), _ROUTE),
}
"""Kinds of faults, and the kind of target that each has."""

ANSWERS = {
    "302": ("302 Found", "Location: /login\r\n", ""),
    "400": ("400 Bad Request", "", "<html><h1>Bad Request</h1></html>"),
    "403": ("403 Forbidden", "", "<html><h1>Forbidden</h1></html>"),
    "404": ("404 Not Found", "", "<html><h1>Not Found</h1></html>"),
    "413": ("413 Content Too Large", "", "<html><h1>Too Large</h1></html>"),
    "502": ("502 Bad Gateway", "", "<html><h1>Bad Gateway</h1></html>"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Fault on a target: from `at`, for `lasts` seconds."""

    at: float
    lasts: float
    kind: str
    target: str

    def __post_init__(self) -> None:
        target = KINDS.get(self.kind)
        if target is None:
            raise ValueError(f"{self.kind!r} is no kind of fault: {', '.join(KINDS)}")
        if not _is_target(target, self.target):
            raise ValueError(f"{self.target!r} is no target of {self.kind!r}, which needs {target}")

    def __str__(self) -> str:
        return f"{self.kind} {self.target} for {self.lasts:g} s"

    @property
    def end(self) -> float:
        """Time of the end, in seconds from the start of the schedule."""
        return self.at + self.lasts


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits that the oracle checks; all times are in seconds."""

    silent_green: float = 18.0
    """max(fallbackDelay, heartbeat + 5 s) + 3 s."""
    current: float = 30.0
    """From the last fault's end until every client has all events, and receives them at once."""
    green: float = 30.0
    """From the last fault's end until every client is green; 60 s after short connections."""
    each: float | None = None
    """From the end of each fault until all events arrive at once again."""
    publish: float = 5.5
    """A whole publish call, and half a second for a busy machine."""
    delay: float | None = None
    """From the acknowledgement to each client that pushes reach, on channels without a fault."""
    first_publish: bool = False
    """True: the first publish after a start of the log's server succeeds."""
    resets: frozenset[str] | None = frozenset()
    """Channels that get a reset, and the only ones; None: any channel may get one."""
    growth: float | None = None
    """Growth of a node's memory after the first third, as a share."""
    lines: float = 200.0
    """Log lines of a node in an hour."""
    lines_of_a_fault: int = 5
    """Further log lines of a node for each fault: start and end for feed and log, a hand-over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Deployment, its clients, the faults and the limits.

    Args:
        name: unique name.
        backend: the log of all nodes.
        faults: the faults, in any order.
        nodes: number of server nodes.
        python: transports of the Python clients.
        npm: transports of the npm clients.
        crowd: number of further Python clients, on two channels each.
        lifetime: mean seconds after which a client of the crowd is replaced.
        rates: events per second of each channel.
        limits: limits of the oracle.
        is_long: True if it runs by `--long` only.
        has_doors: True if nodes and publisher record traces, and visitors of `visitors.py` use the
            other doors: plain event streams, Pusher's protocol, an outlet, metrics, the dashboard.

    """

    name: str
    backend: Backend
    faults: tuple[Fault, ...]
    nodes: int = 2
    python: tuple[Transport, ...] = ("auto", "auto", "sse", "poll")
    npm: tuple[Transport, ...] = ("auto", "auto", "sse", "poll")
    crowd: int = 0
    lifetime: float = 60.0
    rates: Mapping[str, float] = field(default_factory=lambda: CHANNELS)
    limits: Limits = field(default_factory=Limits)
    is_long: bool = False
    has_doors: bool = False

    def __post_init__(self) -> None:
        for first in self.faults:
            for second in self.faults:
                is_overlap = first.at < second.at < first.end
                if is_overlap and _area(first) == _area(second):
                    raise ValueError(f"{self.name}: {second} begins within {first}")

    @property
    def duration(self) -> float:
        """Seconds until the end of the last fault."""
        return max((fault.end for fault in self.faults), default=0.0)

    @property
    def channels(self) -> frozenset[str]:
        """Channels with a fault."""
        return frozenset(fault.target for fault in self.faults if KINDS[fault.kind] == _CHANNEL)


def repeat(times: int, every: float, fault: Fault) -> tuple[Fault, ...]:
    """Return a fault and its repetitions."""
    return tuple(
        Fault(fault.at + number * every, fault.lasts, fault.kind, fault.target)
        for number in range(times)
    )


def _is_target(kind: str, target: str) -> bool:
    name, _, number = target.partition(":")
    if kind == _LINK:
        return target == "front" or (name == "log" and number != "")
    if kind == _NODE:
        return name == "node" and number.isdigit()
    if kind == _ROUTE:
        return target in ROUTES
    if kind == _CHANNEL:
        return target in CHANNELS
    return target == kind


def _area(fault: Fault) -> str:
    """Return the part that heals as a whole."""
    return fault.target if KINDS[fault.kind] != _ROUTE else "routes"
