"""Checker of the invariants I1 to I12 of docs/specification.md §8."""

from collections.abc import Callable
from typing import NoReturn

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.client.reducer import CAPACITY, STORED_IDS
from realtime_bridge.testing.simulation.deployment import Deployment, SimulatedClient
from realtime_bridge.testing.simulation.faults import (
    HTTP_FAULTS,
    SERVER_FAULTS,
    Fault,
    end_of_quiet_period,
)
from realtime_bridge.testing.simulation.log import FullPosition, full_position

PING_MS = 3_000
"""Time limit of a ping."""

SLACK_MS = 2_500
"""Allowance for the time of answers, which the invariants do not include."""

HOSTED_MS = 36_000
"""Longest time until a client of a provider notices a lost event: 30 s and 20 %."""

REVOKED_MS = 1_000
"""Longest time in which a revoked client may receive events (I8)."""

RESTING = ("PAUSED", "DENIED", "STOPPED")


class InvariantViolation(AssertionError):  # noqa: N818 -- it reports a violated invariant
    """Violation of one invariant.

    Args:
        invariant: its number in docs/specification.md §8, such as `I3`.
        at: the time in milliseconds.
        message: the client, and the observation that violates the invariant.

    """

    def __init__(self, invariant: str, at: int, message: str) -> None:
        super().__init__(f"{invariant} at {at / 1_000:.3f} s: {message}")
        self.invariant = invariant


class InvariantChecker:
    """Comparison of the handlers' events with the log's true order."""

    def __init__(self, simulation: Deployment) -> None:
        self._simulation = simulation
        self._last: dict[tuple[int, str], FullPosition] = {}
        self._delivered: dict[int, set[str]] = {}
        self._last_contact: dict[int, int] = {}

    def record_start(self, client: SimulatedClient, channel: str, position: Position) -> None:
        """Record the position at which a client begins."""
        self._last[client.number, channel] = full_position(position)

    def record_reset(
        self, client: SimulatedClient, channel: str, position: Position | None
    ) -> None:
        """Record a reset."""
        if position:
            self._last[client.number, channel] = full_position(position)

    def check_delivery(self, client: SimulatedClient, event: Event) -> None:
        """Check an event that a handler receives (I1, I3, I8, I12)."""
        key, ids = (client.number, event.channel), self._delivered_ids(client)
        if event.id in ids:
            self._fail("I3", client, f"{event.id} was delivered twice")
        if event.source == client.name:
            self._fail("I3", client, f"{event.id} is the client's own")
        self._check_access(client)
        new = full_position(event.position)
        self._check_contiguous(client, key, new)
        ids.add(event.id)
        self._last[key] = new

    def check_state(self, client: SimulatedClient) -> None:
        """Check the invariants that hold after every input (I5, I7, I10)."""
        if client.polls > 1:
            self._fail("I7", client, "two polls are pending")
        for reducer in client.channels.reducers.values():
            if len(reducer._held) > CAPACITY or len(reducer._ids) > STORED_IDS:
                self._fail("I10", client, "a reducer stores more than its limits")
        self.check_contact(client)

    def check_contact(self, client: SimulatedClient) -> None:
        """Check that a client pushes or polls while HTTP works (I5)."""
        simulation, machine, number = self._simulation, client.machine, client.number
        if machine.mode == "LIVE" or machine.polling or machine.mode in RESTING or client.asleep:
            self._last_contact[number] = simulation.now
            return
        # The cheap test first: the quiet period is only needed in the rare case.
        limit = self._silence_limit() + PING_MS
        since = self._last_contact.setdefault(number, simulation.now)
        if simulation.now - since <= limit + SLACK_MS:
            return
        if (
            simulation.now
            > end_of_quiet_period(simulation.faults, since, limit, self._http_faults_of(number))
            + SLACK_MS
        ):
            self._fail("I5", client, f"{machine.mode}, neither LIVE nor polling within the limit")

    def check_shown(self, client: SimulatedClient, event: Event) -> None:
        """Check that an active client shows a terminal state in time (I4)."""
        if self._is_active(client) and not client.channels.handler.shows(event):
            self._fail("I4", client, f"{event.id} is not shown, {client.machine.mode}")

    def deadline(self, client: SimulatedClient, at: int) -> int:
        """Return the time by which a client shows an event that was published at `at`."""
        interval = self._simulation.options.client.polling_interval
        # Silence, a ping without an answer, then the first poll with its variation of 20 %.
        limit = self._silence_limit() + PING_MS + round(1.2 * interval) + SLACK_MS
        if self._simulation.uses_provider:
            limit += HOSTED_MS
        return end_of_quiet_period(
            self._simulation.faults, at, limit, lambda fault: fault.affects(client.number)
        )

    def check_final_state(self) -> None:
        """Check after the last fault that every active client has every event (I2)."""
        for client in self._simulation.clients:
            self.check_contact(client)
            if not self._is_active(client):
                continue
            for channel in client.channels.reducers:
                self._check_complete(client, channel)

    def _check_complete(self, client: SimulatedClient, channel: str) -> None:
        key, top = (client.number, channel), full_position(self._simulation.log.top(channel))
        last = self._last.get(key)
        if last is None or last[0] != top[0]:
            self._fail("I2", client, f"{channel} is at {last}, the log at {top}")
        at = top
        while at[1] > last[1]:
            if not self._may_skip(client, at):
                self._fail("I2", client, f"{at} was never delivered: {channel} is at {last}")
            at = self._simulation.log.previous[at]

    def _check_contiguous(
        self, client: SimulatedClient, key: tuple[int, str], new: FullPosition
    ) -> None:
        """Check that no event is missing between the client's last event and this one."""
        last = self._last.get(key)
        if last is None:
            self._fail("I1", client, f"{new} arrived before any position")
        if new[0] != last[0]:
            self._fail("I1", client, f"{new} follows {last} without a reset")
        if new[1] <= last[1]:
            self._fail("I1", client, f"{new} arrived after {last}")
        # The log's true order, not offsets alone: a rolled-back log uses an offset twice.
        before = self._simulation.log.previous[new]
        while before[1] > last[1]:
            if not self._may_skip(client, before):
                self._fail("I1", client, f"{before} is missing before {new}")
            before = self._simulation.log.previous[before]
        if last[2] is not None and before[2] != last[2]:
            self._fail("I12", client, f"{new} continues {before}, not {last}")

    def _check_access(self, client: SimulatedClient) -> None:
        revoked_at = self._simulation.servers.revoked.get(client.number)
        if revoked_at is not None and self._simulation.now > revoked_at + REVOKED_MS + 2 * SLACK_MS:
            self._fail("I8", client, "received an event after the revocation")

    def _may_skip(self, client: SimulatedClient, at: FullPosition) -> bool:
        """Return whether the handler had this event, or the client published it."""
        assert at[2] is not None
        return (
            at[2] in self._delivered_ids(client)
            or self._simulation.log.sources[at[2]] == client.name
        )

    def _delivered_ids(self, client: SimulatedClient) -> set[str]:
        return self._delivered.setdefault(client.number, set())

    def _is_active(self, client: SimulatedClient) -> bool:
        return client.machine.mode not in RESTING and not client.asleep

    def _silence_limit(self) -> int:
        return max(self._simulation.options.client.fallback_delay, 15_000)

    def _http_faults_of(self, number: int) -> Callable[[Fault], bool]:
        def concerns(fault: Fault) -> bool:
            return fault.affects(number) and (
                fault.kind in HTTP_FAULTS or fault.kind in SERVER_FAULTS
            )

        return concerns

    def _fail(self, invariant: str, client: SimulatedClient, message: str) -> NoReturn:
        raise InvariantViolation(invariant, self._simulation.now, f"{client.name}: {message}")
