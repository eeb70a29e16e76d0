"""Effects of the faults of the log, and of the ways to it."""

from collections.abc import Callable
from contextvars import Context

from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.testing.simulation.deployment import Deployment
from realtime_bridge.testing.simulation.faults import LATE_SECONDS, SLOW_SECONDS, Fault
from realtime_bridge.testing.simulation.log_link import LogConnection
from realtime_bridge.testing.simulation.node import Node

LEAST_LOST_SHARE = 0.3
"""Smallest share of announcements that a lossy feed loses."""

TAIL = 4
"""Most events that a log loses when it is rolled back."""

FAIL_OVER_SECONDS = 0.3
"""Longest time between an append and the failover that loses it."""


class LogFaultEffects:
    """Actions at the begin and the end of faults: `_begin_x` and `_end_x` of the fault `x`."""

    def __init__(self, simulation: Deployment) -> None:
        self._simulation = simulation

    def _begin_log_refused(self, fault: Fault) -> None:
        log = self._log(fault)
        log.is_refused, log.refused_since = True, self._simulation.loop.now
        self._begin_feed_lost(fault)

    def _end_log_refused(self, fault: Fault) -> None:
        self._log(fault).is_refused = False

    def _begin_log_black_hole(self, fault: Fault) -> None:
        self._log(fault).link.block(fault.way)

    def _end_log_black_hole(self, fault: Fault) -> None:
        self._log(fault).link.unblock(fault.way)

    def _begin_log_raises(self, fault: Fault) -> None:
        self._log(fault).raises = True

    def _end_log_raises(self, fault: Fault) -> None:
        self._log(fault).raises = False

    def _begin_feed_lost(self, fault: Fault) -> None:
        self._log(fault).break_feeds(BackendUnavailableError("the connection was reset"))

    def _begin_feed_raises(self, fault: Fault) -> None:
        self._log(fault).break_feeds(RuntimeError("the handler is closed"))

    def _begin_lost_answers(self, fault: Fault) -> None:
        for log in (self._log(fault), *self._worker_logs()):
            log.loses_answers = True

    def _end_lost_answers(self, fault: Fault) -> None:
        for log in (self._log(fault), *self._worker_logs()):
            log.loses_answers = False

    def _begin_lost_announcements(self, fault: Fault) -> None:
        self._log(fault).lost_share = min(1.0, LEAST_LOST_SHARE + fault.strength)

    def _end_lost_announcements(self, fault: Fault) -> None:
        self._log(fault).lost_share = 0.0

    def _begin_repeated_announcements(self, fault: Fault) -> None:
        self._log(fault).repeats_announcements = True

    def _end_repeated_announcements(self, fault: Fault) -> None:
        self._log(fault).repeats_announcements = False

    def _begin_late_announcements(self, fault: Fault) -> None:
        self._log(fault).announcement_delay = LATE_SECONDS * fault.strength

    def _end_late_announcements(self, fault: Fault) -> None:
        self._log(fault).announcement_delay = 0.0

    def _begin_shuffled_announcements(self, fault: Fault) -> None:
        self._log(fault).announcement_spread = LATE_SECONDS * fault.strength

    def _end_shuffled_announcements(self, fault: Fault) -> None:
        self._log(fault).announcement_spread = 0.0

    def _begin_slow_log(self, fault: Fault) -> None:
        self._log(fault).answer_delay += SLOW_SECONDS * fault.strength

    def _end_slow_log(self, fault: Fault) -> None:
        self._log(fault).answer_delay -= SLOW_SECONDS * fault.strength

    def _begin_new_epoch(self, _: Fault) -> None:
        self._simulation.store.lose_everything()

    def _begin_roll_back(self, fault: Fault) -> None:
        self._lose_tail(1 + int(TAIL * fault.strength))

    def _begin_fail_over(self, fault: Fault) -> None:
        self._after_next_append(fault, self._fail_over)

    def _end_fail_over(self, _: Fault) -> None:
        self._simulation.store.on_appended = None

    def _after_next_append(self, fault: Fault, action: Callable[[Fault], None]) -> None:
        delay = FAIL_OVER_SECONDS * (TAIL * fault.strength % 1)
        loop, store = self._simulation.loop, self._simulation.store

        def start() -> None:
            store.on_appended = None
            if fault.end > self._simulation.checker.now_ms + delay * 1_000:
                # In no process: the one that appended may be frozen or killed by then.
                loop.call_later(delay, action, fault, context=Context())

        store.on_appended = start

    def _fail_over(self, fault: Fault) -> None:
        self._lose_tail(1 + int(TAIL * fault.strength**2))

    def _lose_tail(self, count: int) -> None:
        # A feed whose order is not the log's ends with the server that fails. Else the event stored
        # in a lost one's place could come after its successor, and no position shows its absence.
        for node in self._simulation.nodes:
            if node.log.announcement_spread:
                node.log.break_feeds(BackendUnavailableError("the connection was reset"))
        self._simulation.store.lose_tail(count)

    def _begin_log_full(self, _: Fault) -> None:
        self._simulation.store.is_full = True

    def _end_log_full(self, _: Fault) -> None:
        self._simulation.store.is_full = False

    def _kill(self, node: Node) -> None:
        node.kill()
        if self._simulation.is_memory:
            self._simulation.store.lose_everything()

    def _worker_logs(self) -> list[LogConnection]:
        return [worker.log for worker in self._simulation.workers]

    def _node(self, fault: Fault) -> Node:
        nodes: list[Node] = self._simulation.nodes
        return nodes[fault.target % len(nodes)]

    def _log(self, fault: Fault) -> LogConnection:
        return self._node(fault).log
