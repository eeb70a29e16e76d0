"""What each fault does when it begins, and when it ends."""

from realtime_bridge.testing.simulation.connection import Connection, Node
from realtime_bridge.testing.simulation.deployment import Deployment, SimulatedClient
from realtime_bridge.testing.simulation.faults import Fault
from realtime_bridge.testing.simulation.server import FORBIDDEN, RESTART

LOST = 1006
NOTICED = 0.5
REVOKE_MS = 800
SLEEP_MS = 15_000


class FaultEffects:
    """Faults that need more than to be looked up: `_begin_x`, and `_end_x` where there is one."""

    def __init__(self, simulation: Deployment) -> None:
        self._simulation = simulation
        self._down: dict[Fault, Node] = {}

    def begin(self, fault: Fault) -> None:
        """Do what a fault does first."""
        getattr(self, f"_begin_{fault.kind}", _nothing)(fault)

    def end(self, fault: Fault) -> None:
        """Do what the end of a fault does."""
        getattr(self, f"_end_{fault.kind}", _nothing)(fault)

    def _begin_cut(self, fault: Fault) -> None:
        for connection in self._sockets(fault):
            self._simulation.servers.close(connection, LOST)

    def _begin_half_open(self, fault: Fault) -> None:
        for connection in self._sockets(fault):
            connection.broken = True

    _begin_swallow = _begin_half_open

    def _begin_offline(self, fault: Fault) -> None:
        self._begin_half_open(fault)
        if fault.strength < NOTICED:
            self._give(fault, "offline")

    def _end_offline(self, fault: Fault) -> None:
        if fault.strength < NOTICED:
            self._give(fault, "online")

    def _begin_demote(self, fault: Fault) -> None:
        for connection in self._sockets(fault):
            connection.behind = not connection.hosted

    def _begin_sleep(self, fault: Fault) -> None:
        for client in self._clients(fault):
            client.sleep()

    def _end_sleep(self, fault: Fault) -> None:
        for client in self._clients(fault):
            if not self._simulation.faulty("sleep", client.number):
                client.wake(jumped=fault.lasts > SLEEP_MS)
                self._catch_up(client)

    def _catch_up(self, client: SimulatedClient) -> None:
        """Tell a client what changed while it slept."""
        believed, faulty = client.machine.poll_schedule, self._simulation.faulty
        if believed.hidden and not faulty("hide", client.number):
            client.give("visible")
        if believed.offline and not faulty("offline", client.number):
            client.give("online")

    def _begin_hide(self, fault: Fault) -> None:
        self._give(fault, "hidden")

    def _end_hide(self, fault: Fault) -> None:
        self._give(fault, "visible")

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
            self._simulation.after(wait, self._simulation.servers.close, connection, FORBIDDEN)

    def _begin_restart(self, fault: Fault, code: int = RESTART) -> None:
        servers = self._simulation.servers
        node = servers.nodes[int(fault.strength * len(servers.nodes))]
        self._down[fault] = node
        node.up = False
        for connection in list(servers.connections):
            if connection.node is node:
                servers.close(connection, code)
        if self._simulation.memory:
            self._begin_new_epoch(fault)

    def _end_restart(self, fault: Fault) -> None:
        node = self._down.pop(fault)
        node.up = node not in self._down.values()
        node.draining = False

    def _begin_crash(self, fault: Fault) -> None:
        self._begin_restart(fault, LOST)

    _end_crash = _end_restart

    def _begin_drain(self, fault: Fault) -> None:
        servers = self._simulation.servers
        node = servers.nodes[int(fault.strength * len(servers.nodes))]
        self._down[fault] = node
        node.draining = True
        for connection in list(servers.connections):
            if connection.node is node:
                self._simulation.network.down(connection, ("drain", 0, fault.lasts))
                slot = self._simulation.random.randrange(fault.lasts + 1)
                self._simulation.after(slot, servers.close, connection, RESTART)

    _end_drain = _end_restart

    def _begin_new_epoch(self, _: Fault) -> None:
        self._simulation.log.lose_everything()
        for channel in self._simulation.options.channels:
            self._simulation.servers.send_reset(channel)

    def _begin_regress(self, fault: Fault) -> None:
        for channel in self._simulation.options.channels:
            self._simulation.log.lose_tail(channel, 1 + int(3 * fault.strength))
            wait = round(1_000 * fault.strength)
            self._simulation.after(wait, self._simulation.servers.compare, channel)

    def _begin_generation(self, fault: Fault) -> None:
        self._simulation.servers.move(hosted=fault.strength < NOTICED)

    def _begin_trouble(self, _: Fault) -> None:
        self._simulation.servers.send_status(ok=False)

    def _end_trouble(self, _: Fault) -> None:
        if not self._simulation.faulty("trouble", None):
            self._simulation.servers.send_status(ok=True)

    def _give(self, fault: Fault, name: str) -> None:
        for client in self._clients(fault):
            if not client.asleep:
                client.give(name)

    def _clients(self, fault: Fault) -> list[SimulatedClient]:
        return [client for client in self._simulation.clients if fault.hits(client.number)]

    def _sockets(self, fault: Fault) -> list[Connection]:
        connections = self._simulation.servers.connections
        return [connection for connection in connections if fault.hits(connection.client)]


def _nothing(_: Fault) -> None:
    pass
