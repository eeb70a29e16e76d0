"""Effects of each fault at its begin and its end."""

from realtime_bridge.errors import BackendUnavailableError, RealtimeError
from realtime_bridge.testing.simulation.deployment import Deployment
from realtime_bridge.testing.simulation.faults import Fault
from realtime_bridge.testing.simulation.log_link import LogConnection
from realtime_bridge.testing.simulation.network import Link
from realtime_bridge.testing.simulation.node import Node
from realtime_bridge.testing.simulation.page import Page

LATE_SECONDS = 2.5
"""Longest extra delay of an announcement, or of a client's messages."""

LEAST_BYTES, BYTES = 300, 3_000
"""Bytes per second of a throttled client."""

TAIL = 4
"""Most events that a log loses when it is rolled back."""


class FaultEffects:
    """Actions at the begin and the end of faults: `_begin_x` and `_end_x` of the fault `x`."""

    def __init__(self, simulation: Deployment) -> None:
        self._simulation = simulation

    def begin(self, fault: Fault) -> None:
        """Perform the effects of a fault's begin."""
        kind, _, status = fault.kind.partition("_")
        if kind == "proxy":
            self._page(fault).network.proxy_status = int(status)
        else:
            getattr(self, f"_begin_{fault.kind}")(fault)

    def end(self, fault: Fault) -> None:
        """Perform the effects of a fault's end."""
        if fault.kind.startswith("proxy"):
            self._page(fault).network.proxy_status = None
        elif fault.duration:
            getattr(self, f"_end_{fault.kind}")(fault)

    def _begin_cut(self, fault: Fault) -> None:
        self._page(fault).network.reset()

    def _begin_half_open(self, fault: Fault) -> None:
        self._page(fault).network.break_silently(fault.way)

    def _begin_black_hole(self, fault: Fault) -> None:
        _block(self._page(fault).network.link, fault)

    def _end_black_hole(self, fault: Fault) -> None:
        _unblock(self._page(fault).network.link, fault)

    def _begin_refuse(self, fault: Fault) -> None:
        self._page(fault).network.is_refused = True
        self._page(fault).network.reset()

    def _end_refuse(self, fault: Fault) -> None:
        self._page(fault).network.is_refused = False

    def _begin_slow(self, fault: Fault) -> None:
        for direction in self._page(fault).network.link.directions("both"):
            direction.extra_delay = LATE_SECONDS * fault.strength

    def _end_slow(self, fault: Fault) -> None:
        for direction in self._page(fault).network.link.directions("both"):
            direction.extra_delay = 0.0

    def _begin_throttle(self, fault: Fault) -> None:
        rate = LEAST_BYTES + fault.strength * BYTES
        self._page(fault).network.link.down.bytes_per_second = rate

    def _end_throttle(self, fault: Fault) -> None:
        self._page(fault).network.link.down.bytes_per_second = None

    def _begin_sleep(self, fault: Fault) -> None:
        page = self._page(fault)
        page.set_asleep(asleep=True)
        self._simulation.loop.freeze(page.process)

    def _end_sleep(self, fault: Fault) -> None:
        page = self._page(fault)
        page.set_asleep(asleep=False)
        self._simulation.loop.thaw(page.process)

    def _begin_busy_handler(self, fault: Fault) -> None:
        self._page(fault).set_busy(busy=True)

    def _end_busy_handler(self, fault: Fault) -> None:
        self._page(fault).set_busy(busy=False)

    def _begin_log_out(self, fault: Fault) -> None:
        self._page(fault).is_logged_out = True

    def _end_log_out(self, fault: Fault) -> None:
        self._page(fault).is_logged_out = False

    def _begin_reload(self, fault: Fault) -> None:
        page = self._page(fault)
        if page.is_started and not page.has_ended and not page.is_asleep:
            page.reload()

    def _begin_revoke(self, fault: Fault) -> None:
        node = next((node for node in self._simulation.nodes if node.is_up), None)
        if node:
            self._page(fault).is_logged_out = True
            node.spawn(self._revoke(node, self._page(fault)))

    async def _revoke(self, node: Node, page: Page) -> None:
        try:
            await node.bridge.revoke(user=page.user)
        except RealtimeError:
            return  # the application would try again
        self._simulation.checker.revoked[page.number] = self._simulation.loop.now

    def _begin_kill(self, fault: Fault) -> None:
        self._node(fault).kill()
        if self._simulation.is_memory:
            self._simulation.store.lose_everything()

    def _end_kill(self, fault: Fault) -> None:
        if not self._node(fault).is_running:
            self._node(fault).start()

    def _begin_restart(self, fault: Fault) -> None:
        node = self._node(fault)
        if node.is_up:
            node.spawn(node.stop())

    def _end_restart(self, fault: Fault) -> None:
        # The platform kills what has not stopped by itself.
        self._begin_kill(fault)
        self._node(fault).start()

    def _begin_freeze(self, fault: Fault) -> None:
        self._simulation.loop.freeze(self._node(fault).process)

    def _end_freeze(self, fault: Fault) -> None:
        self._simulation.loop.thaw(self._node(fault).process)

    def _begin_log_refused(self, fault: Fault) -> None:
        log = self._log(fault)
        log.is_refused, log.refused_since = True, self._simulation.loop.now
        self._begin_feed_lost(fault)

    def _end_log_refused(self, fault: Fault) -> None:
        self._log(fault).is_refused = False

    def _begin_log_black_hole(self, fault: Fault) -> None:
        _block(self._log(fault).link, fault)

    def _end_log_black_hole(self, fault: Fault) -> None:
        _unblock(self._log(fault).link, fault)

    def _begin_log_raises(self, fault: Fault) -> None:
        self._log(fault).raises = True

    def _end_log_raises(self, fault: Fault) -> None:
        self._log(fault).raises = False

    def _begin_feed_lost(self, fault: Fault) -> None:
        self._log(fault).break_feeds(BackendUnavailableError("the connection was reset"))

    def _begin_feed_raises(self, fault: Fault) -> None:
        self._log(fault).break_feeds(RuntimeError("the handler is closed"))

    def _begin_lost_answers(self, fault: Fault) -> None:
        for log in (self._log(fault), self._simulation.worker.log):
            log.loses_answers = True

    def _end_lost_answers(self, fault: Fault) -> None:
        for log in (self._log(fault), self._simulation.worker.log):
            log.loses_answers = False

    def _begin_lost_announcements(self, fault: Fault) -> None:
        self._log(fault).loses_announcements = True

    def _end_lost_announcements(self, fault: Fault) -> None:
        self._log(fault).loses_announcements = False

    def _begin_repeated_announcements(self, fault: Fault) -> None:
        self._log(fault).repeats_announcements = True

    def _end_repeated_announcements(self, fault: Fault) -> None:
        self._log(fault).repeats_announcements = False

    def _begin_late_announcements(self, fault: Fault) -> None:
        self._log(fault).announcement_delay = LATE_SECONDS * fault.strength

    def _end_late_announcements(self, fault: Fault) -> None:
        self._log(fault).announcement_delay = 0.0

    def _begin_new_epoch(self, _: Fault) -> None:
        self._simulation.store.lose_everything()

    def _begin_roll_back(self, fault: Fault) -> None:
        self._simulation.store.lose_tail(1 + int(TAIL * fault.strength))

    def _begin_log_full(self, _: Fault) -> None:
        self._simulation.store.is_full = True

    def _end_log_full(self, _: Fault) -> None:
        self._simulation.store.is_full = False

    def _begin_kill_worker(self, _: Fault) -> None:
        self._simulation.worker.restart()

    def _begin_worker_log_refused(self, _: Fault) -> None:
        self._simulation.worker.log.is_refused = True

    def _end_worker_log_refused(self, _: Fault) -> None:
        self._simulation.worker.log.is_refused = False

    def _page(self, fault: Fault) -> Page:
        pages: list[Page] = self._simulation.pages
        return pages[fault.target % len(pages)]

    def _node(self, fault: Fault) -> Node:
        nodes: list[Node] = self._simulation.nodes
        return nodes[fault.target % len(nodes)]

    def _log(self, fault: Fault) -> LogConnection:
        return self._node(fault).log


def _block(link: Link, fault: Fault) -> None:
    for direction in link.directions(fault.way):
        direction.block()


def _unblock(link: Link, fault: Fault) -> None:
    for direction in link.directions(fault.way):
        direction.unblock()
