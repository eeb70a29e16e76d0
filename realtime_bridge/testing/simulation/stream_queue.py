"""Task queue of the simulated streams: it gives them to workers, and again when one is lost."""

from random import Random

from realtime_bridge.errors import RealtimeError
from realtime_bridge.publishing.broadcaster import Broadcaster
from realtime_bridge.testing.simulation.deployment import Deployment
from realtime_bridge.testing.simulation.faults import WORKER_FAULTS
from realtime_bridge.testing.simulation.log_link import SimulatedLog
from realtime_bridge.testing.simulation.node import Node
from realtime_bridge.testing.simulation.shape import WIDE
from realtime_bridge.testing.simulation.stream_job import Attempt, StreamJob

REDELIVERY_SECONDS = (None, 0.1, 1.0, 6.0, 6.0, 20.0, 33.0)
"""Seconds until a lost task is given to another worker: before and after its lease runs out."""

LAPSE_SECONDS = 45.0
"""Time in which a silent stream is ended by the log, and shown so."""

NEAR_SHARE, NEAR_SECONDS = 0.7, 3.0
"""Share of streams that begin before a fault of workers, and the seconds before it at most."""

STOP_SPREAD = 0.3
"""Longest time between the last item and a stop that races with the end, in seconds."""


class StreamQueue:
    """Streams of one run.

    Args:
        simulation: the deployment.
        random: draws the streams.

    """

    def __init__(self, simulation: Deployment, random: Random) -> None:
        self._simulation = simulation
        self._random = random
        self._jobs: list[StreamJob] = []

    def streams_of(self, channel: str) -> list[str]:
        """Return the ids of the streams of a channel."""
        return [job.stream for job in self._jobs if job.channel == channel]

    def start(self, number: int, seconds: float) -> None:
        """Draw streams, which begin within so many seconds."""
        draw, loop = self._random, self._simulation.loop
        channels = self._simulation.pages[0].channels
        for count in range(0 if len(channels) == WIDE else number):
            job = StreamJob(
                channel=draw.choice(channels),
                stream=f"s{count}",
                items=draw.randint(1, 20),
                pace=draw.choice(("steady", "steady", "burst", "stutter", "stutter")),
                redelivery=draw.choice(REDELIVERY_SECONDS),
                stop=draw.choice(("never", "never", "never", "midway", "at the end")),
                fails=draw.random() < 0.1,  # noqa: PLR2004
            )
            self._jobs.append(job)
            begin = draw_begin(self._simulation, draw, seconds)
            loop.call_later(begin, self._deliver, job)
            if job.stop == "midway":
                loop.call_later(begin + draw.uniform(0, 10), self._stop, job)

    def begun(self, attempt: Attempt) -> None:
        """Observe the begin of an attempt."""
        self._simulation.checker.streams.attempts[attempt.stream.attempt] = attempt
        self.log_line("stream", f"{attempt.job.stream} begins as {attempt.stream.attempt}")

    def finishing(self, attempt: Attempt) -> None:
        """Stop a stream while it ends, if that was drawn."""
        if attempt.job.stop == "at the end":
            delay = self._random.uniform(0, STOP_SPREAD)
            self._simulation.loop.call_later(delay, self._stop, attempt.job)

    def abandoned(self, job: StreamJob) -> None:
        """Give the task of a lost worker to another one, if that was drawn."""
        self._simulation.extend(LAPSE_SECONDS)
        if job.redelivery is not None:
            self._simulation.loop.call_later(job.redelivery, self._deliver, job)

    def log_line(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        self._simulation.log_line(who, what)

    def _deliver(self, job: StreamJob) -> None:
        running = [worker for worker in self._simulation.workers if not worker.is_frozen]
        if running and not self._simulation.loop.is_stopping:
            self._random.choice(running).start_stream(job)

    def _stop(self, job: StreamJob) -> None:
        running = [node for node in self._simulation.nodes if node.is_up]
        if running and not self._simulation.loop.is_stopping:
            node = self._random.choice(running)
            node.spawn(self._stop_at(node, job))

    async def _stop_at(self, node: Node, job: StreamJob) -> None:
        broadcaster = Broadcaster(log=SimulatedLog(node.log))
        try:
            is_stopped = await broadcaster.stop_stream(job.channel, job.stream, by="a person")
        except (RealtimeError, RuntimeError) as error:
            self.log_line("stream", f"{job.stream} cannot be stopped: {error}")
        else:
            self.log_line("stream", f"stop of {job.stream}: {is_stopped}")


def draw_begin(simulation: Deployment, random: Random, seconds: float) -> float:
    """Draw the second at which work begins: often shortly before a fault of workers."""
    faults = [fault for fault in simulation.faults if fault.kind in WORKER_FAULTS]
    if faults and random.random() < NEAR_SHARE:
        fault = random.choice(faults)
        return max(0.0, fault.at / 1_000 - random.uniform(0, NEAR_SECONDS))
    return random.uniform(0, seconds)
