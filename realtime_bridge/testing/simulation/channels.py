"""Channels of one simulated client: a reducer for each, and the handler of all."""

from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.client.reducer import Deliver, Output, Reducer, Restart
from realtime_bridge.testing.simulation.connection import OK, Answer
from realtime_bridge.testing.simulation.deployment import Deployment, SimulatedClient
from realtime_bridge.testing.simulation.handlers import Handler

TIMEOUT_MS = 10_000
"""Time limit of an HTTP request."""

RETRY_MS = 1_000
"""Wait before a failed HTTP request is repeated."""


class Channels:
    """Reducers and handler of one client.

    Each input returns whether the client has to read the log.
    """

    def __init__(
        self, simulation: Deployment, client: SimulatedClient, names: tuple[str, ...]
    ) -> None:
        self.reducers: dict[str, Reducer] = {name: Reducer(client=client.name) for name in names}
        self.handler: Handler = simulation.options.handler()
        self._simulation = simulation
        self._client = client
        self._current = True
        self._snapshots: dict[str, int] = {}

    @property
    def positions(self) -> dict[str, Position | None]:
        """Position of each channel."""
        return {name: reducer.position for name, reducer in self.reducers.items()}

    def event_received(self, event: Event) -> bool:
        """Apply a pushed event."""
        return self._apply(event.channel, self.reducers[event.channel].event(event))

    def heartbeat_received(self, channel: str, offset: int) -> bool:
        """Compare the position with the offset in a heartbeat."""
        return self._apply(channel, self.reducers[channel].announced(offset))

    def apply_answer(self, channel: str, answer: Answer, requested_after: Position | None) -> bool:
        """Apply an answer of the log; `requested_after` is the position in the request."""
        reducer = self.reducers[channel]
        if isinstance(answer, Reset):
            outputs = reducer.reset(answer.reason, answer.top, asked=requested_after)
            return self._apply(channel, outputs)
        if reducer.position is None:
            # Before the reducer: it may deliver held events at once.
            self._simulation.checker.record_start(self._client, channel, answer.top)
            self._load_snapshot(channel)
            return self._apply(channel, reducer.start(answer.top))
        outputs = reducer.page(answer.events, top=answer.top, more=answer.more)
        return self._apply(channel, outputs)

    def _apply(self, channel: str, outputs: list[Output]) -> bool:
        """Perform the outputs of a reducer."""
        recover = False
        for output in outputs:
            if isinstance(output, Deliver):
                self._simulation.checker.check_delivery(self._client, output.event)
                self.handler.event(output.event)
            elif isinstance(output, Restart):
                self._simulation.checker.record_reset(self._client, channel, output.position)
                self.handler.reset(channel, output.position)
                self._load_snapshot(channel)
            else:
                recover = True
        self._update_sync()
        return recover

    def _update_sync(self) -> None:
        current = all(reducer.phase == "current" for reducer in self.reducers.values())
        if current != self._current:
            self._current = current
            self._client.apply_input("sync_changed", ok=current)

    def _load_snapshot(self, channel: str) -> None:
        """Load the application's own state."""
        # A later load makes this one obsolete: its answer could replace newer steps.
        number = self._snapshots[channel] = self._snapshots.get(channel, 0) + 1
        finished = False

        def on_answer(status: int, jobs: Any) -> None:
            nonlocal finished
            if finished or self._snapshots[channel] != number:
                return
            finished = True
            if status == OK and not self._client.asleep:
                self.handler.snapshot(channel, jobs)
            else:
                self._simulation.call_later(RETRY_MS, self._load_snapshot, channel)

        self._simulation.network.request(self._client, "snapshot", channel, on_answer)
        self._simulation.call_later(TIMEOUT_MS, on_answer, 0, None)
