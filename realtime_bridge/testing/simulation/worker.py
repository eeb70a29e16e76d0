"""Worker of a simulation: it publishes the steps of jobs, and repeats unacknowledged ones."""

from realtime_bridge.model.event import Event
from realtime_bridge.testing.simulation.deployment import Deployment

STEPS_MS = (50, 3_000)
RETRY_MS = (200, 2_000)
LOST_SHARE = 0.7
"""Share of lost receipts during the fault `lose_receipts`."""


class Worker:
    """Publisher of one job's events, each after the acknowledgement of the last."""

    def __init__(self, simulation: Deployment, number: int) -> None:
        self._simulation = simulation
        self._number = number
        self._jobs = 0

    def start_job(self, at: int) -> None:
        """Start a job at a time."""
        self._jobs += 1
        random = self._simulation.random
        channel = random.choice(self._simulation.options.channels)
        key = f"job-{self._number}-{self._jobs}"
        steps = random.randint(1, 12)
        source = random.choice((None, None, None, "c_0"))
        self._simulation.call_at(at, self._publish_step, channel, key, 1, steps, source)

    def _publish_step(
        self, channel: str, key: str, step: int, steps: int, source: str | None
    ) -> None:
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
        """Publish an event until its acknowledgement; the log may store it before that."""
        random, servers = self._simulation.random, self._simulation.servers
        retry_ms = random.randint(*RETRY_MS)
        if not servers.ready() or self._simulation.has_fault("reject", None):
            self._simulation.call_later(retry_ms, self._publish, event, step, steps)
            return
        _, announcement = self._simulation.log.append(event)
        if announcement:
            servers.announce(announcement)
        if self._simulation.has_fault("lose_receipts", None) and random.random() < LOST_SHARE:
            # The log has the event: the repeated publish is a duplicate.
            self._simulation.call_later(retry_ms, self._publish, event, step, steps)
            return
        self._on_receipt(event, step, steps)

    def _on_receipt(self, event: Event, step: int, steps: int) -> None:
        self._simulation.record_publish(event, terminal=step == steps)
        if step < steps:
            wait = self._simulation.random.randint(*STEPS_MS)
            assert event.key
            self._simulation.call_later(
                wait, self._publish_step, event.channel, event.key, step + 1, steps, event.source
            )
