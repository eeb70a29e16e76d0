"""Checker of the invariants of docs/specification.md §8."""

from collections.abc import Callable, Collection
from typing import Any

from realtime_bridge.client.subscription_set import ChannelReset, DeniedError
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.testing.simulation.faults import ROLL_BACKS, Fault, end_of_quiet_period
from realtime_bridge.testing.simulation.log_store import FullPosition, full_position
from realtime_bridge.testing.simulation.page import Page
from realtime_bridge.testing.simulation.status_checker import (
    HEARTBEAT_SECONDS,
    StatusChecker,
)
from realtime_bridge.testing.simulation.stream_checker import StreamChecker
from realtime_bridge.testing.simulation.stream_view import StreamView
from realtime_bridge.testing.simulation.task_checker import TaskChecker
from realtime_bridge.testing.simulation.violations import InvariantViolation
from realtime_bridge.testing.simulation.virtual_loop import START

SILENCE_MS = 18_000
"""Longest silence that a client takes for normal, and the time limit of a ping."""

SLACK_MS = 2_500
"""Allowance for the time of answers, which the invariants do not include."""

REVOKED_SECONDS = 1.0
"""Longest time in which a revoked client may receive events (I8)."""

FRESH_SECONDS = 8.0
"""Age of an event that a client may not have yet at the end (I18)."""

ROLLED_BACK = ("ahead", "regressed")
"""Reasons of resets that a rolled-back log causes."""

CURRENT = ("realtime", "polling")
"""Statuses of a client that is current, and reports that."""


class InvariantChecker(StatusChecker):
    """Comparison of what clients receive and show with the log's true order."""

    streams: StreamChecker
    tasks: TaskChecker

    def __init__(
        self, *arguments: Any, streams: StreamChecker, tasks: TaskChecker, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.streams, self.tasks = streams, tasks

    def record_start(self, page: Page, channel: str, position: Position) -> None:
        """Record the position at which a channel of a client begins."""
        self._last.setdefault((page.number, channel), full_position(position))
        self._cover(page, channel, position)

    def record_reset(self, page: Page, reset: ChannelReset) -> None:
        """Record a reset: it covers the events that were stored before it (I1)."""
        position, key = reset.position, (page.number, reset.channel)
        if position is None:
            return
        self._resets[key] = self._resets.get(key, 0) + 1
        last, new = self._last.get(key), full_position(position)
        # The log itself has to lose a client's last event before a reset may move it back.
        is_lost = last in self._store.rolled_back
        if last and last[0] == new[0] and last[1] > new[1] and not is_lost:
            self._fail("I1", page, f"a reset ({reset.reason}) moves it back from {last} to {new}")
        self._last[key] = new
        self._cover(page, reset.channel, position)

    def check_delivery(self, page: Page, event: Event) -> None:
        """Check an event that an application receives (I1, I3, I8, I12)."""
        key, ids = (page.number, event.channel), self._delivered_ids(page)
        # What the log lost and stored again, or announced before the loss, is received again after
        # the reset that reported it: by a new process, which knows no ids, and if it has a key.
        now = len(page.client_ids), self._resets.get(key, 0)
        earlier = ids.get(event.id)
        is_known = earlier and earlier[0] == now[0] and event.key is None
        if earlier and (is_known or earlier[1] == now[1]):
            self._fail("I3", page, f"{event.id} was delivered twice")
        if page.client_ids and event.source == page.client_ids[-1]:
            self._fail("I3", page, f"{event.id} is the client's own")
        self._check_access(page, event)
        new = full_position(event.position)
        self._check_contiguous(page, key, new)
        ids[event.id] = now
        self._last[key] = new
        self._outstanding_of(page).pop(event.id, None)

    def affects(self, kinds: Collection[str], page: Page) -> bool:
        """Return whether a fault of one of these kinds affects a client."""
        return any(fault.kind in kinds and fault.affects(page.number) for fault in self._faults)

    def fail(self, invariant: str, page: Page, message: str) -> None:
        """Report a violation."""
        self._fail(invariant, page, message)

    def check_end(self, page: Page, error: Exception) -> None:
        """Check that a client ends only if it lost its access (I18)."""
        if isinstance(error, InvariantViolation):
            raise error
        lost_access = not page.is_signed_in or self.affects(("log_out", "revoke"), page)
        if not (lost_access and isinstance(error, DeniedError)):
            self._fail("I18", page, f"ended permanently: {error!r}")

    def check_contact(self, page: Page) -> None:
        """Check that a client receives or polls while HTTP works (I5)."""
        if not self._is_active(page) or not page.always_polls:
            page.network.last_contact = self._loop.now
            return
        since = round((page.network.last_contact - START) * 1_000)
        limit = SILENCE_MS + round(1.2 * self._options.client.polling_interval)
        if self.now_ms <= since + limit + SLACK_MS:
            return
        if self.now_ms > self._quiet_end(since, limit, page) + SLACK_MS:
            self._fail("I5", page, f"neither receives nor polls, since {since / 1_000:.3f} s")

    def check_shown(self, page: Page, event: Event) -> None:
        """Check that an active client shows a terminal state in time (I4)."""
        is_active = self._is_active(page) and (page.always_polls or page.status == "realtime")
        # No client can know of an event that the log lost before the client received it.
        is_lost = any(fault.kind in ROLL_BACKS for fault in self._faults)
        if is_active and not is_lost and not page.handler.shows(event):
            self._fail("I4", page, f"{event.id} is not shown; it shows {page.status}")

    def deadline(self, page: Page, at: int) -> int:
        """Return the time by which a client shows an event that was published at `at`."""
        interval = self._options.client.polling_interval
        # Silence, a ping without an answer, then the first poll with its variation of 20 %.
        return self._quiet_end(at, SILENCE_MS + round(1.2 * interval) + SLACK_MS, page)

    def check_final_state(self) -> None:
        """Check after the last fault that every active client has every event (I2, I18, I22)."""
        self.streams.check_final_state()
        self.tasks.check_final_state()
        for page in self._pages:
            self.check_contact(page)
            # A client with one transport alone may wait for a minute before it tries again.
            if not self._is_active(page) or not (page.always_polls or page.status == "realtime"):
                continue
            for channel in page.channels:
                self._check_complete(page, channel)
                self.streams.check_watched(channel)
                self.tasks.check_watched(channel)
                self._check_shown(page, channel, page.streams, self.streams, "I22")
                self._check_shown(page, channel, page.tasks, self.tasks, "I23")
            if page.status not in CURRENT:
                self._fail("I18", page, f"everything works again, but it shows {page.status}")

    def _check_complete(self, page: Page, channel: str) -> None:
        key, top = (page.number, channel), self._store.top(channel)
        last = self._last.get(key)
        if last is None or last[0] != top[0]:
            self._fail("I2", page, f"{channel} is at {last}, the log at {top}")
            return
        # One heartbeat reports 50 of a slow client's 64 channels, and the next one the others.
        fresh = FRESH_SECONDS + (0 if self._has_room else 2 * HEARTBEAT_SECONDS)
        at = top
        while at[1] > last[1]:
            stored_at, _ = self._outstanding_of(page).get(at[2] or "", (0.0, None))
            is_fresh = self._loop.now - stored_at < fresh
            if not is_fresh and not self._may_skip(page, at):
                self._fail("I2", page, f"{at} was never delivered: {channel} is at {last}")
            at = self._store.previous[at]

    def _check_shown(
        self, page: Page, channel: str, view: StreamView, checker: Any, invariant: str
    ) -> None:
        """Check that all streams or tasks of a channel are loaded, and as of the last event."""
        is_fresh = self._loop.now < view.load_began_at[channel] + FRESH_SECONDS
        for key in view.board.keys(channel):
            if is_fresh or view.has_lost_group(channel, key):
                continue
            snapshot, as_of = view.board.shown(channel, key)
            at = full_position(as_of) if as_of else None
            last = self._last[page.number, channel]
            if at is None or at[0] != last[0]:
                text = f"{key} is not loaded: {at}, and {channel} is at {last}"
                self._fail(invariant, page, text)
            else:
                newest = max(at, last, key=lambda position: position[1])
                checker.check_shown(page.name, key, snapshot, newest)

    def _check_contiguous(self, page: Page, key: tuple[int, str], new: FullPosition) -> None:
        """Check that no event is missing between the client's last event and this one."""
        before = self._store.previous[new]
        last = self._last.get(key)
        if last is None:
            return
        if new[0] != last[0]:
            self._fail("I1", page, f"{new} follows {last} without a reset")
        if new[1] <= last[1]:
            self._fail("I1", page, f"{new} arrived after {last}")
        # The log's true order, not offsets alone: a rolled-back log uses an offset twice.
        after = new
        while before[1] > last[1]:
            if not self._may_skip(page, before):
                self._fail("I1", page, f"{before} is missing before {new}")
            after, before = before, self._store.previous[before]
        # An answer from before a rollback has the history of that time.
        is_known = last in self._store.replaced.get(after, ())
        if last[2] not in (None, before[2]) and not is_known:
            if not self._is_hidden(last, before):
                self._fail("I12", page, f"{new} continues {before}, not {last}")
            # Nothing shows the client that it lacks the events before this one.
            self._cover(page, key[1], Position(new[0], new[1]))
            page.streams.merged.add(key[1])
            page.tasks.merged.add(key[1])

    def _is_hidden(self, last: FullPosition, before: FullPosition) -> bool:
        """Return whether no server can see that the log has another event in this place (§2.4)."""
        return last in self._store.rolled_back and before[2] in self._store.unannounced

    def _check_access(self, page: Page, event: Event) -> None:
        revoked_at = self.revoked.get(page.number)
        if revoked_at is None:
            return
        stored_at, _ = self._outstanding_of(page).get(event.id, (0.0, None))
        if stored_at > revoked_at + REVOKED_SECONDS and not self._disturbed(revoked_at):
            self._fail("I8", page, f"received {event.id} after the revocation")

    def _disturbed(self, since: float) -> bool:
        """Return whether a fault can have delayed the announcement of a revocation."""
        moment = (since - START) * 1_000
        return any(fault.end + 12_000 > moment and fault.kind != "revoke" for fault in self._faults)

    def _may_skip(self, page: Page, at: FullPosition) -> bool:
        """Return whether the application had this event, or the client published it."""
        assert at[2] is not None
        return at[2] in self._delivered_ids(page) or self._is_own(page, self._store.sources[at[2]])

    def _quiet_end(self, start: int, length: int, page: Page) -> int:
        affects: Callable[[Fault], bool] = lambda fault: fault.affects(page.number)  # noqa: E731
        return end_of_quiet_period(self._faults, start, length, affects)
