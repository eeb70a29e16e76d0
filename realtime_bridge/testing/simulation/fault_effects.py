"""Effects of each fault at its begin and its end."""

from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.testing.simulation.connection import Connection, Node
from realtime_bridge.testing.simulation.deployment import Deployment, SimulatedClient
from realtime_bridge.testing.simulation.faults import Fault

NOTICED = 0.5
"""Strength below which a browser notices that it is offline."""

REVOKE_MS = 800
"""Longest time until a node closes the sockets of a revoked client."""

SLEEP_MS = 15_000
"""Shortest sleep that a client notices by a jump of its clock."""


class FaultEffects:
    """Actions at the begin and the end of faults.

    `_begin_x` and `_end_x` belong to the fault `x`. The other faults have no action: the
    network and the servers query them.
    """

    def __init__(self, simulation: Deployment) -> None:
        self._simulation = simulation
        self._nodes_down: dict[Fault, Node] = {}

    def begin(self, fault: Fault) -> None:
        """Perform the effects of a fault's begin."""
        getattr(self, f"_begin_{fault.kind}", _no_effect)(fault)

    def end(self, fault: Fault) -> None:
        """Perform the effects of a fault's end."""
        getattr(self, f"_end_{fault.kind}", _no_effect)(fault)

    def _begin_cut(self, fault: Fault) -> None:
        for connection in self._sockets(fault):
            self._simulation.servers.close(connection, CloseCode.ABNORMAL)

    def _begin_half_open(self, fault: Fault) -> None:
        for connection in self._sockets(fault):
            connection.broken = True

    _begin_swallow = _begin_half_open

    def _begin_offline(self, fault: Fault) -> None:
        self._begin_half_open(fault)
        if fault.strength < NOTICED:
            self._apply_input(fault, "offline")

    def _end_offline(self, fault: Fault) -> None:
        if fault.strength < NOTICED:
            self._apply_input(fault, "online")

    def _begin_demote(self, fault: Fault) -> None:
        for connection in self._sockets(fault):
            connection.paused = not connection.hosted

    def _begin_sleep(self, fault: Fault) -> None:
        for client in self._clients(fault):
            client.sleep()

    def _end_sleep(self, fault: Fault) -> None:
        for client in self._clients(fault):
            if not self._simulation.has_fault("sleep", client.number):
                client.wake(jumped=fault.duration > SLEEP_MS)
                self._catch_up(client)

    def _catch_up(self, client: SimulatedClient) -> None:
        """Send a client the changes of its page during its sleep."""
        schedule, faulty = client.machine.poll_schedule, self._simulation.has_fault
        if schedule.hidden and not faulty("hide", client.number):
            client.apply_input("visible")
        if schedule.offline and not faulty("offline", client.number):
            client.apply_input("online")

    def _begin_hide(self, fault: Fault) -> None:
        self._apply_input(fault, "hidden")

    def _end_hide(self, fault: Fault) -> None:
        self._apply_input(fault, "visible")

    def _begin_expire(self, fault: Fault) -> None:
        for client in self._clients(fault):
            self._simulation.servers.tokens[client.number] += 1
            self._simulation.servers.check_tokens(client.number)

    def _begin_log_out(self, fault: Fault) -> None:
        for client in self._clients(fault):
            self._simulation.servers.logged_out.add(client.number)
        self._begin_expire(fault)

    def _begin_revoke(self, fault: Fault) -> None:
        for client in self._clients(fault):
            self._simulation.servers.revoked[client.number] = self._simulation.now
        for connection in self._sockets(fault):
            wait = round(fault.strength * REVOKE_MS)
            self._simulation.call_later(
                wait, self._simulation.servers.close, connection, CloseCode.FORBIDDEN
            )

    def _begin_restart(self, fault: Fault, code: int = CloseCode.SERVICE_RESTART) -> None:
        servers = self._simulation.servers
        node = servers.nodes[int(fault.strength * len(servers.nodes))]
        self._nodes_down[fault] = node
        node.up = False
        for connection in list(servers.connections):
            if connection.node is node:
                servers.close(connection, code)
        if self._simulation.memory:  # the log is lost with the process
            self._begin_new_epoch(fault)

    def _end_restart(self, fault: Fault) -> None:
        node = self._nodes_down.pop(fault)
        # Another fault may stop the same node for longer.
        node.up = node not in self._nodes_down.values()
        node.draining = False

    def _begin_crash(self, fault: Fault) -> None:
        self._begin_restart(fault, CloseCode.ABNORMAL)

    _end_crash = _end_restart

    def _begin_drain(self, fault: Fault) -> None:
        servers = self._simulation.servers
        node = servers.nodes[int(fault.strength * len(servers.nodes))]
        self._nodes_down[fault] = node
        node.draining = True
        for connection in list(servers.connections):
            if connection.node is node:
                self._simulation.network.send_to_client(connection, ("drain", 0, fault.duration))
                slot = self._simulation.random.randrange(fault.duration + 1)
                self._simulation.call_later(
                    slot, servers.close, connection, CloseCode.SERVICE_RESTART
                )

    _end_drain = _end_restart

    def _begin_new_epoch(self, _: Fault) -> None:
        self._simulation.log.lose_everything()
        for channel in self._simulation.options.channels:
            self._simulation.servers.send_reset(channel)

    def _begin_regress(self, fault: Fault) -> None:
        for channel in self._simulation.options.channels:
            self._simulation.log.lose_tail(channel, 1 + int(3 * fault.strength))
            # The servers notice a rolled-back log after a moment, or by the next append.
            wait = round(1_000 * fault.strength)
            self._simulation.call_later(wait, self._simulation.servers.verify_position, channel)

    def _begin_generation(self, fault: Fault) -> None:
        self._simulation.servers.change_delivery(hosted=fault.strength < NOTICED)

    def _begin_trouble(self, _: Fault) -> None:
        self._simulation.servers.send_status(ok=False)

    def _end_trouble(self, _: Fault) -> None:
        if not self._simulation.has_fault("trouble", None):
            self._simulation.servers.send_status(ok=True)

    def _apply_input(self, fault: Fault, name: str) -> None:
        for client in self._clients(fault):
            if not client.asleep:
                client.apply_input(name)

    def _clients(self, fault: Fault) -> list[SimulatedClient]:
        return [client for client in self._simulation.clients if fault.affects(client.number)]

    def _sockets(self, fault: Fault) -> list[Connection]:
        connections = self._simulation.servers.connections
        return [connection for connection in connections if fault.affects(connection.client)]


def _no_effect(_: Fault) -> None:
    pass
