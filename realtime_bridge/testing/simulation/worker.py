"""A worker of a simulation: it publishes the life of jobs, and tries again until it is told yes."""

from realtime_bridge.model.event import Event
from realtime_bridge.testing.simulation.deployment import Deployment

STEPS_MS = (50, 3_000)
AGAIN_MS = (200, 2_000)
LOST = 0.7
"""How many receipts get lost, while they do."""


class Worker:
    """Publishes one event after another; each is acknowledged before the next."""

    def __init__(self, simulation: Deployment, number: int) -> None:
        self._simulation = simulation
        self._number = number
        self._jobs = 0

    def start_job(self, at: int) -> None:
        """Begin a job at a time."""
        self._jobs += 1
        random = self._simulation.random
        channel = random.choice(self._simulation.options.channels)
        key = f"job-{self._number}-{self._jobs}"
        steps = random.randint(1, 12)
        source = random.choice((None, None, None, "c_0"))
        self._simulation.at(at, self._step, channel, key, 1, steps, source)

    def _step(self, channel: str, key: str, step: int, steps: int, source: str | None) -> None:
        done = step == steps
        event = Event(
            channel=channel,
            event="job.completed" if done else "job.progress",
            data=step,
            id=f"{key}-{step}",
            key=key,
            source=None if done else source,
        )
        self._simulation.application.setdefault(channel, {})[key] = step
        self._publish(event, step, steps)

    def _publish(self, event: Event, step: int, steps: int) -> None:
        """Publish until it is acknowledged: the answer may get lost after the log has it."""
        random, servers = self._simulation.random, self._simulation.servers
        again = random.randint(*AGAIN_MS)
        if not servers.ready() or self._simulation.faulty("reject", None):
            self._simulation.after(again, self._publish, event, step, steps)
            return
        _, announced = self._simulation.log.append(event)
        if announced:
            servers.announce(announced)
        if self._simulation.faulty("lose_receipts", None) and random.random() < LOST:
            self._simulation.after(again, self._publish, event, step, steps)
            return
        self._acknowledged(event, step, steps)

    def _acknowledged(self, event: Event, step: int, steps: int) -> None:
        self._simulation.acknowledged(event, terminal=step == steps)
        if step < steps:
            wait = self._simulation.random.randint(*STEPS_MS)
            assert event.key
            self._simulation.after(
                wait, self._step, event.channel, event.key, step + 1, steps, event.source
            )
