"""The channels of one simulated client: what arrives goes through the reducers to the handler."""

from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.client.reducer import Deliver, Output, Reducer, Restart
from realtime_bridge.testing.simulation.connection import OK, Answer
from realtime_bridge.testing.simulation.deployment import Deployment, SimulatedClient

LIMIT_MS, AGAIN_MS = 10_000, 1_000


class Channels:
    """A reducer each, and one handler; each method tells whether to ask the log again."""

    def __init__(
        self, simulation: Deployment, client: SimulatedClient, names: tuple[str, ...]
    ) -> None:
        self.reducers = {name: Reducer(client=client.name) for name in names}
        self.handler = simulation.options.handler()
        self._simulation = simulation
        self._client = client
        self._current = True
        self._snapshots: dict[str, int] = {}

    @property
    def positions(self) -> dict[str, Position | None]:
        """Where each channel stands."""
        return {name: reducer.position for name, reducer in self.reducers.items()}

    def event(self, event: Event) -> bool:
        """Take one pushed event."""
        return self._hand_out(event.channel, self.reducers[event.channel].event(event))

    def announced(self, channel: str, offset: int) -> bool:
        """Take a heartbeat's word."""
        return self._hand_out(channel, self.reducers[channel].announced(offset))

    def take(self, channel: str, answer: Answer, asked: Position | None) -> bool:
        """Take what the log said; `asked` is where we were when we asked, if we did."""
        reducer = self.reducers[channel]
        if isinstance(answer, Reset):
            outputs = reducer.reset(answer.reason, answer.top, asked=asked)
            return self._hand_out(channel, outputs)
        if reducer.position is None:
            self._simulation.checker.started(self._client, channel, answer.top)
            self._load_snapshot(channel)
            return self._hand_out(channel, reducer.start(answer.top))
        outputs = reducer.page(answer.events, top=answer.top, more=answer.more)
        return self._hand_out(channel, outputs)

    def _hand_out(self, channel: str, outputs: list[Output]) -> bool:
        """Give the handler what is for it."""
        recover = False
        for output in outputs:
            if isinstance(output, Deliver):
                self._simulation.checker.delivered(self._client, output.event)
                self.handler.event(output.event)
            elif isinstance(output, Restart):
                self._simulation.checker.restarted(self._client, channel, output.position)
                self.handler.reset(channel, output.position)
                self._load_snapshot(channel)
            else:
                recover = True
        self._note_current()
        return recover

    def _note_current(self) -> None:
        current = all(reducer.phase == "current" for reducer in self.reducers.values())
        if current != self._current:
            self._current = current
            self._client.give("sync_changed", ok=current)

    def _load_snapshot(self, channel: str) -> None:
        """Load the application's own state; a newer wish makes an older answer worthless."""
        number = self._snapshots[channel] = self._snapshots.get(channel, 0) + 1
        done = False

        def answered(status: int, jobs: Any) -> None:
            nonlocal done
            if done or self._snapshots[channel] != number:
                return
            done = True
            if status == OK and not self._client.asleep:
                self.handler.snapshot(channel, jobs)
            else:
                self._simulation.after(AGAIN_MS, self._load_snapshot, channel)

        self._simulation.network.request(self._client, "snapshot", channel, answered)
        self._simulation.after(LIMIT_MS, answered, 0, None)
