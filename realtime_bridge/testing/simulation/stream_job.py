"""Work that a task queue gives to simulated workers: one stream, in one or more attempts."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Literal, Protocol

from realtime_bridge.errors import PublishError, StreamSupersededError
from realtime_bridge.publishing.broadcaster import Broadcaster
from realtime_bridge.publishing.stream import AsyncStream

WAITS = {"steady": (0.02, 0.6), "burst": (0.0, 0.01), "stutter": (0.0, 0.3)}
"""Seconds between two items."""

PAUSE_SECONDS, PAUSE_SHARE = (3.0, 12.0), 0.1
"""Length of a stutter's pauses, and the share of its items that follow one."""

RETRY_SECONDS = (0.2, 2.0)

Stop = Literal["never", "midway", "at the end"]


class ModelError(Exception):
    """Failure of the work itself, in the middle of a stream."""


@dataclass(slots=True)
class StreamJob:
    """Stream that a task writes.

    Args:
        channel: the channel.
        stream: the id of the stream.
        items: the number of items.
        pace: the name of the waits between items.
        redelivery: seconds after which the queue gives the task to another worker, when its worker
            ended or seems to have ended; None: never.
        stop: when a person stops the stream.
        fails: whether the work fails after the last item.

    """

    channel: str
    stream: str
    items: int
    pace: str = "steady"
    redelivery: float | None = None
    stop: Stop = "never"
    fails: bool = False


@dataclass(slots=True)
class Attempt:
    """Run of a stream's task in one process.

    Args:
        job: the task.
        stream: the stream as the application has it.
        began_at: the moment before the stream is entered.

    """

    job: StreamJob
    stream: AsyncStream
    began_at: float
    written: list[str] = field(default_factory=list)
    """Items that the application has added."""
    written_at: float = 0.0
    """Moment of the last item."""
    is_running: bool = True
    """True until the application has left the stream's block."""
    is_dead: bool = False
    """True if its process was killed."""


class StreamObserver(Protocol):
    """Simulation, as the attempts see it."""

    def begun(self, attempt: Attempt) -> None:
        """Observe the begin of an attempt."""

    def finishing(self, attempt: Attempt) -> None:
        """Observe that an attempt has added its last item."""

    def abandoned(self, job: StreamJob) -> None:
        """Observe that a worker with an attempt ended, or seems to have ended."""

    def log_line(self, who: str, what: str) -> None:
        """Add a line to the trace."""


async def run_attempts(
    broadcaster: Broadcaster,
    job: StreamJob,
    random: Random,
    observer: StreamObserver,
    own: Callable[[Attempt], None],
) -> None:
    """Write a stream; begin again while the log does not answer at the begin."""
    while True:
        stream = broadcaster.stream(job.channel, id=job.stream)
        attempt = Attempt(job, stream, asyncio.get_running_loop().time())
        own(attempt)
        observer.begun(attempt)
        try:
            await _write(attempt, random, observer)
        except (PublishError, RuntimeError) as error:
            observer.log_line("stream", f"{job.stream} cannot begin: {error}")
            await asyncio.sleep(random.uniform(*RETRY_SECONDS))
        except (ModelError, StreamSupersededError) as error:
            observer.log_line("stream", f"{job.stream} by {stream.attempt} ends: {error!r}")
            return
        else:
            return
        finally:
            attempt.is_running = False


async def _write(attempt: Attempt, random: Random, observer: StreamObserver) -> None:
    job, stream = attempt.job, attempt.stream
    async with stream:
        for number in range(job.items):
            await asyncio.sleep(_draw_wait(random, job.pace))
            item = f"{stream.attempt}:{number} "
            stream.append(item)
            attempt.written.append(item)
            attempt.written_at = asyncio.get_running_loop().time()
        observer.finishing(attempt)
        if job.fails:
            raise ModelError("the model failed")
    observer.log_line("stream", f"{job.stream} by {stream.attempt} is {stream.state}")


def _draw_wait(random: Random, pace: str) -> float:
    is_pause = pace == "stutter" and random.random() < PAUSE_SHARE
    return random.uniform(*(PAUSE_SECONDS if is_pause else WAITS[pace]))
