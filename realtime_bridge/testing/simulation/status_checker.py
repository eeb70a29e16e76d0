"""Checks that a client's status is honest: what it shows, and what it lacks."""

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.testing.simulation.faults import LATE_SECONDS, Fault
from realtime_bridge.testing.simulation.log_store import FullPosition, LogStore
from realtime_bridge.testing.simulation.options import Options
from realtime_bridge.testing.simulation.page import Page
from realtime_bridge.testing.simulation.shape import WIDE
from realtime_bridge.testing.simulation.violations import Violations
from realtime_bridge.testing.simulation.virtual_loop import START, TICK, VirtualLoop

HONEST_SECONDS = 18.0
"""Longest time for which a client shows `Real-time` although nothing can reach it (I17)."""

PROMPT_SECONDS = 4.0
"""Longest time until a client that shows `Real-time` has an event, after all faults (I19)."""

HEARTBEAT_SECONDS = 12.0
"""Longest time until a heartbeat reports what the server held back from a slow reader."""

UNNOTICED_MS = {
    **dict.fromkeys(("roll_back", "fail_over", "new_epoch"), 12_000),
    **dict.fromkeys(("half_open", "black_hole", "log_black_hole", "freeze"), 22_000),
    **dict.fromkeys(("kill", "lose_zone"), 22_000),
    **dict.fromkeys(("log_refused", "refuse"), 6_000),
    "feed_lost": 1_000,
    **dict.fromkeys(
        (
            "slow",
            "throttle",
            "lost_answers",
            "slow_log",
            "log_full",
            "feed_raises",
            "log_raises",
        ),
        12_000,
    ),
}
"""Time after these faults in which their effects last: a position check, or a silence limit."""

LOST = "lost_announcements"
"""Fault that delays only the events whose announcements it loses."""

LATE = ("late_announcements", "shuffled_announcements")
"""Faults that delay each event by their strength times `LATE_SECONDS` at most."""


SILENT = ("half_open", "black_hole", "freeze", "throttle")
"""Faults that a client notices only by the silence of its connection, or that slow its reading of
what was missing."""


class StatusChecker:
    """Comparison of what clients show with the events that they lack (I17, I19).

    Args:
        loop: the event loop.
        store: the log.
        options: the options of clients.
        violations: receives violations.
        faults: the faults of the run.
        pages: the clients.
        has_room: whether a burst finds room at the server; a heartbeat reports it otherwise.

    """

    def __init__(
        self,
        loop: VirtualLoop,
        store: LogStore,
        options: Options,
        violations: Violations,
        faults: list[Fault],
        pages: list[Page],
        *,
        has_room: bool,
    ) -> None:
        self.revoked: dict[int, float] = {}
        """Moment of the revocation of a client."""
        self.is_secret_dropped: bool = False
        """True once a program knows only one of two secrets, and may refuse tokens of the other."""
        self._loop = loop
        self._store = store
        self._options = options
        self._violations = violations
        self._faults = faults
        self._pages = pages
        self._has_room = has_room
        self._prompt_seconds = PROMPT_SECONDS + (0 if has_room else HEARTBEAT_SECONDS)
        self._last: dict[tuple[int, str], FullPosition] = {}
        self._delivered: dict[int, dict[str, tuple[int, int]]] = {}
        """Ids that an application received: in which process, and after how many resets."""
        self._resets: dict[tuple[int, str], int] = {}
        """Number of resets of each channel of a client, in all its processes."""
        self._outstanding: dict[int, dict[str, tuple[float, Event]]] = {}
        store.on_stored = self._on_stored
        store.on_lost = self._on_lost

    @property
    def now_ms(self) -> int:
        """Time since the begin, in milliseconds."""
        return self._violations.now_ms

    def check_way(self, page: Page) -> None:
        """Check that a client does not show `Real-time` while its server has no log (I17)."""
        if page.status != "realtime" or not self._is_active(page):
            return
        network = page.network
        connections = [*network.sockets, *network.exchanges]
        if connections and all(connection.node.log.is_refused for connection in connections):
            cut = min(connection.node.log.refused_since for connection in connections)
            opened = min(connection.opened_at for connection in connections)
            since = max(cut, opened, page.status_since, page.excused_until(self._loop.now))
            if self._loop.now - since > HONEST_SECONDS:
                self._fail("I17", page, "shows Real-time; its server has no log")

    def _on_stored(self, event: Event) -> None:
        for page in self._pages:
            # A log that lost an event may store it again: the client has it already.
            is_known = event.id in self._delivered_ids(page) or self._is_own(page, event.source)
            last = self._last.get((page.number, event.channel))
            is_known |= last is not None and last[2] == event.id
            if event.channel in page.channels and not is_known:
                self._outstanding_of(page)[event.id] = (self._loop.now, event)
                self._loop.call_later(HONEST_SECONDS, self._check_honesty, page, event)
                # A burst on many channels makes a client slow: heartbeats report what it lacks.
                if len(page.channels) < WIDE:
                    deadline = self._prompt_deadline(page)
                    self._loop.call_at(deadline, self._check_prompt, page, event, deadline)

    def _on_lost(self, channel: str, first_offset: int) -> None:
        """Expect no event any more that the log has lost."""
        for page in self._pages:
            outstanding = self._outstanding_of(page)
            for key, (_, event) in list(outstanding.items()):
                position = event.position
                if event.channel == channel and position and position.offset >= first_offset:
                    del outstanding[key]

    def _cover(self, page: Page, channel: str, position: Position) -> None:
        """Expect no event any more that lies before a client's start or reset."""
        outstanding = self._outstanding_of(page)
        for key, (_, event) in list(outstanding.items()):
            if event.channel == channel and _is_before(event, position):
                del outstanding[key]

    def _check_honesty(self, page: Page, event: Event) -> None:
        """Check that a client does not show `Real-time` while an event cannot reach it (I17)."""
        stored_at, pending = self._outstanding_of(page).get(event.id, (0.0, None))
        if pending is None or not self._is_active(page) or page.status != "realtime":
            return
        now = self._loop.now
        since = max(stored_at, page.status_since, page.excused_until(now), self._silent_since(page))
        if now < since + HONEST_SECONDS - TICK:
            self._loop.call_at(since + HONEST_SECONDS, self._check_honesty, page, event)
        elif (page.number, event.channel) in self._last:
            late = now - stored_at
            self._fail("I17", page, f"shows Real-time; {event.id} is {late:.1f} s late")

    def _silent_since(self, page: Page) -> float:
        """Return the last moment at which the client's connection may have become silent.

        An event that another fault held back before that moment is not noticed any earlier.
        """
        now = self.now_ms
        faults = (
            fault.at
            for fault in self._faults
            if fault.kind in SILENT and fault.at <= now and fault.affects(page.number)
        )
        return START + max(faults, default=0) / 1_000

    def _prompt_deadline(self, page: Page) -> float:
        """Return the moment by which an event that is stored now is delivered (I19)."""
        now = self.now_ms
        quiet = now
        for fault in self._faults:
            if fault.affects(page.number) and fault.at <= now + self._prompt_seconds * 1_000:
                end = fault.end + UNNOTICED_MS.get(fault.kind, 0)
                if fault.kind == LOST:
                    continue
                if fault.kind in LATE:
                    end = min(now, fault.end) + round(LATE_SECONDS * 1_000 * fault.strength)
                quiet = max(quiet, end)
        return START + quiet / 1_000 + self._prompt_seconds

    def _check_prompt(self, page: Page, event: Event, deadline: float) -> None:
        """Check that a client which shows `Real-time` has an event soon after all faults (I19)."""
        stored_at, pending = self._outstanding_of(page).get(event.id, (0.0, None))
        if pending is None or page.status != "realtime" or not self._is_active(page):
            return
        if event.id in self._store.unannounced:
            return
        since = max(page.status_since, page.excused_until(self._loop.now))
        later = self._prompt_deadline(page)
        if (
            since > deadline - self._prompt_seconds
            or later > deadline + self._prompt_seconds + TICK
        ):
            return
        if (page.number, event.channel) in self._last:
            late = self._loop.now - stored_at
            self._fail("I19", page, f"shows Real-time; {event.id} is {late:.1f} s late")

    def _is_own(self, page: Page, source: str | None) -> bool:
        return source in page.client_ids

    def _delivered_ids(self, page: Page) -> dict[str, tuple[int, int]]:
        return self._delivered.setdefault(page.number, {})

    def _outstanding_of(self, page: Page) -> dict[str, tuple[float, Event]]:
        return self._outstanding.setdefault(page.number, {})

    def _is_active(self, page: Page) -> bool:
        return page.is_started and page.is_signed_in and not (page.has_ended or page.is_asleep)

    def _fail(self, invariant: str, page: Page, message: str) -> None:
        self._violations.report(invariant, f"{page.name}: {message}")


def _is_before(event: Event, position: Position) -> bool:
    """Return whether an event lies before a position, or in an epoch that ended."""
    assert event.position
    return event.position.epoch != position.epoch or event.position.offset <= position.offset
