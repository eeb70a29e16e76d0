"""Who watches a simulation, and says which of the promises of docs/specification.md §8 was broken."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.client.reducer import CAPACITY, STORED_IDS
from realtime_bridge.testing.simulation.faults import HTTP, SERVER, Fault, over
from realtime_bridge.testing.simulation.log import Place, place

if TYPE_CHECKING:
    from realtime_bridge.testing.simulation.client import Client
    from realtime_bridge.testing.simulation.world import Simulation

PING_MS = 3_000
SLACK_MS = 2_500
"""What answers take, which the invariants leave out."""

HOSTED_MS = 36_000
"""On hosted transports a loss is noticed by the position check, every 30 s, 20 % more at most."""

REVOKED_MS = 1_000
RESTING = ("PAUSED", "DENIED", "STOPPED")


class InvariantViolation(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: str, at: int, message: str) -> None:
        super().__init__(f"{invariant} at {at / 1_000:.3f} s: {message}")
        self.invariant = invariant


class InvariantChecker:
    """Sees what the handlers see, and what the log knows."""

    def __init__(self, world: "Simulation") -> None:
        self._world = world
        self._last: dict[tuple[int, str], Place] = {}
        self._delivered: dict[int, set[str]] = {}
        self._informed: dict[int, int] = {}

    def started(self, client: "Client", channel: str, position: Position) -> None:
        """Note where a client begins to listen."""
        self._last[client.number, channel] = place(position)

    def restarted(self, client: "Client", channel: str, position: Position | None) -> None:
        """Note a reset."""
        if position:
            self._last[client.number, channel] = place(position)

    def delivered(self, client: "Client", event: Event) -> None:
        """Check one call of a handler."""
        here, known = (client.number, event.channel), self._known(client)
        if event.id in known:
            self._fail("I3", client, f"{event.id} was delivered twice")
        if event.source == client.name:
            self._fail("I3", client, f"{event.id} is the client's own")
        self._check_allowed(client)
        new = place(event.position)
        self._check_way(client, here, new)
        known.add(event.id)
        self._last[here] = new

    def stepped(self, client: "Client") -> None:
        """Check what holds after every step."""
        if client.polls > 1:
            self._fail("I7", client, "two polls are in flight")
        for reducer in client.channels.reducers.values():
            if len(reducer._held) > CAPACITY or len(reducer._ids) > STORED_IDS:
                self._fail("I10", client, "a reducer holds more than it may")
        self.informed(client)

    def informed(self, client: "Client") -> None:
        """Check that a client is not left alone for long while HTTP works."""
        world, machine, number = self._world, client.machine, client.number
        if machine.mode == "LIVE" or machine.polling or machine.mode in RESTING or client.asleep:
            self._informed[number] = world.now
            return
        limit = self._silence() + PING_MS
        since = self._informed.setdefault(number, world.now)
        if world.now - since <= limit + SLACK_MS:
            return
        if world.now > over(world.faults, since, limit, self._stops_http(number)) + SLACK_MS:
            self._fail("I5", client, f"{machine.mode}, neither LIVE nor polling for too long")

    def shown(self, client: "Client", event: Event) -> None:
        """Check that a client that can shows this terminal state."""
        if self._watches(client) and not client.channels.handler.shows(event):
            self._fail("I4", client, f"{event.id} is not shown, {client.machine.mode}")

    def due(self, client: "Client", at: int) -> int:
        """Return when a client has to show what was published at `at`."""
        interval = self._world.options.client.polling_interval
        limit = self._silence() + PING_MS + round(1.2 * interval) + SLACK_MS
        if self._world.ever_hosted:
            limit += HOSTED_MS
        return over(self._world.faults, at, limit, lambda fault: fault.hits(client.number))

    def settled(self) -> None:
        """Check that everybody who can has everything, now that all is over."""
        for client in self._world.clients:
            self.informed(client)
            if not self._watches(client):
                continue
            for channel in client.channels.reducers:
                self._check_complete(client, channel)

    def _check_complete(self, client: "Client", channel: str) -> None:
        here, top = (client.number, channel), place(self._world.log.top(channel))
        last = self._last.get(here)
        if last is None or last[0] != top[0]:
            self._fail("I2", client, f"{channel} is at {last}, the log at {top}")
        at = top
        while at[1] > last[1]:
            if not self._passed_over(client, at):
                self._fail("I2", client, f"{at} was never delivered: {channel} is at {last}")
            at = self._world.log.before[at]

    def _check_way(self, client: "Client", here: tuple[int, str], new: Place) -> None:
        """Check that everything between the last event and this one was known, or one's own."""
        last = self._last.get(here)
        if last is None:
            self._fail("I1", client, f"{new} before there was any position")
        if new[0] != last[0]:
            self._fail("I1", client, f"{new} follows {last} without a reset")
        if new[1] <= last[1]:
            self._fail("I1", client, f"{new} comes after {last}")
        before = self._world.log.before[new]
        while before[1] > last[1]:
            if not self._passed_over(client, before):
                self._fail("I1", client, f"{before} is missing before {new}")
            before = self._world.log.before[before]
        if last[2] is not None and before[2] != last[2]:
            self._fail("I12", client, f"{new} continues {before}, not {last}")

    def _check_allowed(self, client: "Client") -> None:
        revoked = self._world.servers.revoked.get(client.number)
        if revoked is not None and self._world.now > revoked + REVOKED_MS + 2 * SLACK_MS:
            self._fail("I8", client, "an event after the revocation")

    def _passed_over(self, client: "Client", at: Place) -> bool:
        """Tell whether the handler need not see this event again."""
        assert at[2] is not None
        return at[2] in self._known(client) or self._world.log.sources[at[2]] == client.name

    def _known(self, client: "Client") -> set[str]:
        return self._delivered.setdefault(client.number, set())

    def _watches(self, client: "Client") -> bool:
        return client.machine.mode not in RESTING and not client.asleep

    def _silence(self) -> int:
        return max(self._world.options.client.fallback_delay, 15_000)

    def _stops_http(self, number: int) -> Callable[[Fault], bool]:
        def stops(fault: Fault) -> bool:
            return fault.hits(number) and (fault.kind in HTTP or fault.kind in SERVER)

        return stops

    def _fail(self, invariant: str, client: "Client", message: str) -> NoReturn:
        raise InvariantViolation(invariant, self._world.now, f"{client.name}: {message}")
