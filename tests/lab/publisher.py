"""Publisher process that writes down what the log acknowledged.

Standard input: `burst CHANNEL COUNT` publishes events at once; its end stops the publisher.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

import orjson
from opentelemetry import trace

from realtime_bridge import Broadcaster, Event, PublishError
from realtime_bridge.model.ids import event_id
from realtime_bridge.model.receipt import Receipt
from tests.lab.lines import standard_input, write
from tests.lab.traces import TRACES, record_spans

ATTEMPTS = 3
PAUSE = 0.2
"""Seconds between two attempts."""

BATCH = 100


class Publisher:
    """Publisher with one sequence of events for each channel."""

    def __init__(self, name: str, broadcaster: Broadcaster) -> None:
        self._name = name
        self._broadcaster = broadcaster
        self._numbers: dict[str, int] = {}
        self.stopping = asyncio.Event()

    async def run(self, channel: str, rate: float) -> None:
        """Publish events at this rate until the stop."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self.stopping.is_set():
            await self._publish([self._event(channel)])
            due = max(due + 1 / rate, loop.time())
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), due - loop.time())

    async def burst(self, channel: str, count: int) -> None:
        """Publish events in batches, one after the other."""
        for start in range(0, count, BATCH):
            await self._publish([self._event(channel) for _ in range(start, start + BATCH)])

    async def _publish(self, events: list[Event]) -> None:
        """Publish; repeat with the same ids, as a worker does."""
        for _ in range(ATTEMPTS):
            begin = time.monotonic()
            try:
                # Without a provider, the span is none, and costs nothing.
                with trace.get_tracer("lab").start_as_current_span("step"):
                    receipts = await self._broadcaster.publish_many(events)
            except PublishError as error:
                self._write_failure("failed", events, time.monotonic() - begin, error)
                if not error.retryable:
                    return
                await asyncio.sleep(PAUSE)
            except Exception as error:
                self._write_failure("raised", events, time.monotonic() - begin, error)
                return
            else:
                self._write_receipts(events, receipts, time.monotonic() - begin)
                return

    def _write_receipts(self, events: list[Event], receipts: list[Receipt], seconds: float) -> None:
        for event, receipt in zip(events, receipts, strict=True):
            position = receipt.position
            write(
                source=self._name,
                kind="acknowledged",
                channel=event.channel,
                id=event.id,
                epoch=position.epoch if position else "",
                offset=position.offset if position else 0,
                seconds=seconds,
            )

    def _write_failure(
        self, kind: str, events: list[Event], seconds: float, error: Exception
    ) -> None:
        text = f"{type(error).__name__}: {error}"
        for event in events:
            place = {"channel": event.channel, "id": event.id}
            write(source=self._name, kind=kind, **place, seconds=seconds, text=text)

    def _event(self, channel: str) -> Event:
        number = self._numbers[channel] = self._numbers.get(channel, 0) + 1
        data = {"number": number, "text": "x" * 40}
        return Event(channel=channel, event="job.step", data=data, id=event_id(), key="state")


async def main(name: str, rates: Mapping[str, float]) -> None:
    """Publish until the end of standard input."""
    if TRACES in os.environ:
        record_spans()
    async with Broadcaster.from_env() as broadcaster, asyncio.TaskGroup() as tasks:
        publisher = Publisher(name, broadcaster)
        for channel, rate in rates.items():
            tasks.create_task(publisher.run(channel, rate))
        async for words in _commands():
            tasks.create_task(publisher.burst(words[1], int(words[2])))
        publisher.stopping.set()


async def _commands() -> AsyncIterator[list[str]]:
    reader = await standard_input()
    while line := await reader.readline():
        yield line.decode().split()


if __name__ == "__main__":
    asyncio.run(main(**orjson.loads(sys.argv[1])))
