"""Contract suites in a third party's pytest: each planted fault of a backend fails one."""

import subprocess
import sys
from pathlib import Path

BROKEN = '''
"""Logs and feeds with one fault each; every class of tests has to fail."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from msgspec.structs import replace

from realtime_bridge import Event, Position
from realtime_bridge.backend.feed import Listener
from realtime_bridge.model.page import Page
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.testing import FeedContract, LogContract
from realtime_bridge_backends.memory import MemoryBackend


async def top_of(log, channel):
    return (await log.positions([channel]))[channel]


class IgnoresDuplicates(MemoryBackend):
    async def append(self, events):
        return [replace(r, duplicate=False) for r in await super().append(events)]


class OverwritesData(MemoryBackend):
    def __init__(self):
        super().__init__()
        self.newest = {}

    async def append(self, events):
        self.newest.update({(event.channel, event.id): event for event in events})
        return await super().append(events)

    async def read(self, channel, after, limit=500):
        answer = await super().read(channel, after, limit)
        if isinstance(answer, Reset):
            return answer
        events = [
            self.newest[channel, event.id].with_position(event.position, event.time)
            for event in answer.events
        ]
        return replace(answer, events=tuple(events))


class IgnoresEpochs(MemoryBackend):
    async def read(self, channel, after, limit=500):
        top = await top_of(self, channel)
        return await super().read(channel, Position(top.epoch, after.offset, after.id), limit)


class IgnoresIds(MemoryBackend):
    async def read(self, channel, after, limit=500):
        return await super().read(channel, Position(after.epoch, after.offset), limit)


class ReturnsPartOfTruncatedHistory(MemoryBackend):
    async def read(self, channel, after, limit=500):
        answer = await super().read(channel, after, limit)
        if isinstance(answer, Reset) and answer.reason == "truncated":
            oldest = answer.top.offset - LogContract.history_events + 1
            return await super().read(channel, Position(answer.top.epoch, oldest), limit)
        return answer


class NeverReportsMore(MemoryBackend):
    async def read(self, channel, after, limit=500):
        answer = await super().read(channel, after, limit)
        return replace(answer, more=False) if isinstance(answer, Page) else answer


class TrimsTooMuch(MemoryBackend):
    def __init__(self):
        super().__init__(Retention(events=999))


class NeverTrims(MemoryBackend):
    def __init__(self):
        super().__init__(Retention(events=1_000_000))


class OmitsIdsOfPositions(MemoryBackend):
    async def positions(self, channels):
        tops = await super().positions(channels)
        return {name: Position(top.epoch, top.offset) for name, top in tops.items()}


class StartsEpochPerRequest(MemoryBackend):
    async def positions(self, channels):
        tops = await super().positions(channels)
        for channel, top in tops.items():
            if not top.offset:
                await self.rotate_epoch(channel, top.epoch)
        return tops


class RotatesAnyEpoch(MemoryBackend):
    async def rotate_epoch(self, channel, expected_epoch):
        return await super().rotate_epoch(channel, (await top_of(self, channel)).epoch)


class NeverRotates(MemoryBackend):
    async def rotate_epoch(self, channel, expected_epoch):
        return await top_of(self, channel)


class ReversesLatest(MemoryBackend):
    async def latest(self, channel, *, after=0, limit=500):
        page = await super().latest(channel, after=after, limit=limit)
        return replace(page, events=page.events[::-1])


class DropsSource(MemoryBackend):
    async def append(self, events):
        return await super().append([
            Event(channel=e.channel, event=e.event, data=e.data, id=e.id, key=e.key)
            for e in events
        ])


class ReordersBatches(MemoryBackend):
    async def append(self, events):
        return [r for e in sorted(events, key=lambda e: e.body, reverse=True)
                for r in await super(ReordersBatches, self).append([e])]


LOGS = [
    IgnoresDuplicates, OverwritesData, IgnoresEpochs, IgnoresIds, ReturnsPartOfTruncatedHistory,
    NeverReportsMore, TrimsTooMuch, NeverTrims, OmitsIdsOfPositions, StartsEpochPerRequest,
    RotatesAnyEpoch, NeverRotates, ReversesLatest, DropsSource, ReordersBatches,
]


class CorrectListener(Listener):
    def __init__(self, listener):
        self.listener = listener

    async def subscribe(self, channels):
        await self.listener.subscribe(channels)

    async def unsubscribe(self, channels):
        await self.listener.unsubscribe(channels)

    def __aiter__(self):
        return aiter(self.listener)


class SubscribesLate(CorrectListener):
    async def subscribe(self, channels):
        self.task = asyncio.create_task(self.subscribe_late(channels))

    async def subscribe_late(self, channels):
        await asyncio.sleep(0.05)
        await self.listener.subscribe(channels)


class ReceivesAllChannels(CorrectListener):
    receives_all = True


class NeverUnsubscribes(CorrectListener):
    async def unsubscribe(self, channels):
        pass


class ReversesEvents(CorrectListener):
    async def __aiter__(self):
        async for batch in self.listener:
            yield batch[::-1]


class NeverEnds(CorrectListener):
    async def __aiter__(self):
        async for batch in self.listener:
            yield batch
        await asyncio.Event().wait()


LISTENERS = [SubscribesLate, ReceivesAllChannels, NeverUnsubscribes, ReversesEvents, NeverEnds]


class FeedOf(MemoryBackend):
    def __init__(self, listener_type):
        super().__init__()
        self.listener_type = listener_type
        self.open_listeners = []

    @asynccontextmanager
    async def listen(self):
        async with super().listen() as listener:
            self.open_listeners.append(listener)
            yield self.listener_type(listener)

    async def append(self, events):
        if getattr(self.listener_type, "receives_all", False):
            for listener in self.open_listeners:
                await listener.subscribe({event.channel for event in events})
        return await super().append(events)


def log_tests(log):
    class Broken(LogContract):
        @pytest_asyncio.fixture
        async def sender(self):
            async with log() as backend:
                yield backend

    return Broken


def feed_tests(listener_type):
    class Broken(FeedContract):
        timeout = 0.2

        @pytest.fixture
        def sender(self):
            return FeedOf(listener_type)

        @pytest.fixture
        def receiver(self, sender):
            return sender

    return Broken


globals().update({f"Test{log.__name__}": log_tests(log) for log in LOGS})
globals().update({f"Test{listener.__name__}": feed_tests(listener) for listener in LISTENERS})
'''

FAULTS = [
    line.split()[1].split("(")[0]
    for line in BROKEN.splitlines()
    if line.endswith(("(MemoryBackend):", "(CorrectListener):")) and "FeedOf" not in line
]


def test_every_planted_fault_fails_a_contract(tmp_path: Path) -> None:
    (tmp_path / "test_broken.py").write_text(BROKEN)
    # Without its own base folder this pytest, run by root, would make the shared folder
    # inaccessible for the user that PostgreSQL runs as.
    options = ("-q", "-rf", "-p", "no:cacheprovider", "--tb=no", "--basetemp=own")
    process = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    failed_tests = {
        line.split("::")[1] for line in process.stdout.splitlines() if line.startswith("FAILED")
    }
    assert failed_tests == {f"Test{fault}" for fault in FAULTS}, process.stdout
    assert " error" not in process.stdout.splitlines()[-1]
