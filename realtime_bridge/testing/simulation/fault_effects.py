"""Effects of each fault at its begin and its end."""

from realtime_bridge.errors import RealtimeError
from realtime_bridge.testing.simulation.faults import INSTANT_FAULTS, LATE_SECONDS, Fault
from realtime_bridge.testing.simulation.node import Node
from realtime_bridge.testing.simulation.page import Page
from realtime_bridge.testing.simulation.secret_fault_effects import SecretFaultEffects
from realtime_bridge.testing.simulation.worker import Worker

LEAST_BYTES, BYTES = 300, 3_000
"""Bytes per second of a throttled client."""


class FaultEffects(SecretFaultEffects):
    """Actions at the begin and the end of all faults."""

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
        elif fault.kind not in INSTANT_FAULTS:
            getattr(self, f"_end_{fault.kind}")(fault)

    def _begin_cut(self, fault: Fault) -> None:
        self._page(fault).network.reset()

    def _begin_half_open(self, fault: Fault) -> None:
        self._page(fault).network.break_silently(fault.way)

    def _begin_black_hole(self, fault: Fault) -> None:
        self._page(fault).network.link.block(fault.way)

    def _end_black_hole(self, fault: Fault) -> None:
        self._page(fault).network.link.unblock(fault.way)

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
        self._page(fault).signed_out_by.add(fault)

    def _end_log_out(self, fault: Fault) -> None:
        self._page(fault).signed_out_by.discard(fault)

    def _begin_reload(self, fault: Fault) -> None:
        page = self._page(fault)
        if page.is_started and not page.has_ended and not page.is_asleep:
            page.reload()

    def _begin_revoke(self, fault: Fault) -> None:
        node = next((node for node in self._simulation.nodes if node.is_up), None)
        if node:
            self._page(fault).signed_out_by.add(fault)
            node.spawn(self._revoke(node, self._page(fault)))

    async def _revoke(self, node: Node, page: Page) -> None:
        try:
            await node.bridge.revoke(user=page.user)
        except RealtimeError:
            return  # the application would try again
        self._simulation.checker.revoked[page.number] = self._simulation.loop.now

    def _begin_kill(self, fault: Fault) -> None:
        self._kill(self._node(fault))

    def _end_kill(self, fault: Fault) -> None:
        _start(self._node(fault))

    def _begin_deploy(self, fault: Fault) -> None:
        """Start one server with another configuration; the others follow at the end."""
        self._simulation.configuration += 1
        self._redeploy([self._node(fault)])

    def _end_deploy(self, _: Fault) -> None:
        self._redeploy(self._simulation.nodes)

    def _redeploy(self, nodes: list[Node]) -> None:
        for node in nodes:
            if node.configuration != self._simulation.configuration:
                node.configuration = self._simulation.configuration
                self._kill(node)
                node.start()

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

    def _begin_lose_zone(self, fault: Fault) -> None:
        self._after_next_append(fault, self._lose_zone)

    def _end_lose_zone(self, _: Fault) -> None:
        self._simulation.store.on_appended = None
        for node in self._simulation.nodes:
            _start(node)

    def _lose_zone(self, fault: Fault) -> None:
        for node in self._simulation.nodes:
            self._kill(node)
        self._restart_workers()
        self._fail_over(fault)

    def _begin_kill_worker(self, _: Fault) -> None:
        self._restart_workers()

    def _begin_freeze_worker(self, fault: Fault) -> None:
        self._worker(fault).freeze()

    def _end_freeze_worker(self, fault: Fault) -> None:
        self._worker(fault).thaw()

    def _begin_worker_log_refused(self, _: Fault) -> None:
        for log in self._worker_logs():
            log.is_refused = True

    def _end_worker_log_refused(self, _: Fault) -> None:
        for log in self._worker_logs():
            log.is_refused = False

    def _restart_workers(self) -> None:
        for worker in self._simulation.workers:
            worker.restart()

    def _worker(self, fault: Fault) -> Worker:
        workers: list[Worker] = self._simulation.workers
        return workers[fault.target % len(workers)]

    def _page(self, fault: Fault) -> Page:
        pages: list[Page] = self._simulation.pages
        return pages[fault.target % len(pages)]


def _start(node: Node) -> None:
    """Start a server, unless another fault's end has started it."""
    if not node.is_running:
        node.start()
