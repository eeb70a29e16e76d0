"""The shipped contracts catch a backend that breaks them, in a third party's plain pytest."""

import subprocess
import sys
from pathlib import Path

BROKEN = '''
"""Logs and feeds, each with one fault; every class of tests has to fail."""

import asyncio

import pytest
import pytest_asyncio
from msgspec.structs import replace

from realtime_bridge import Event, Position
from realtime_bridge.backend import Page, Reset
from realtime_bridge.protocol.history import Retention
from realtime_bridge.testing import FeedContract, LogContract
from realtime_bridge_backends import memory
from realtime_bridge_backends.memory import MemoryBackend


class ForgetsIds(MemoryBackend):
    async def append(self, events):
        return [replace(r, duplicate=False) for r in await super().append(events)]


class NewestDataWins(MemoryBackend):
    async def append(self, events):
        receipts = await super().append(events)
        for event, receipt in zip(events, receipts):
            history = self._channels[event.channel]
            stored = history._at(receipt.position.offset)
            index = receipt.position.offset - history._first()
            history._events[index] = event.with_position(stored.position, stored.time)
        return receipts


class IgnoresTheEpoch(MemoryBackend):
    async def read(self, channel, after, limit=500):
        top = (await self.positions([channel]))[channel]
        return await super().read(channel, Position(top.epoch, after.offset, after.id), limit)


class IgnoresTheId(MemoryBackend):
    async def read(self, channel, after, limit=500):
        return await super().read(channel, Position(after.epoch, after.offset), limit)


class GivesPartOfAGap(MemoryBackend):
    async def read(self, channel, after, limit=500):
        answer = await super().read(channel, after, limit)
        if isinstance(answer, Reset) and answer.reason == "truncated":
            return Page(events=tuple(self._channels[channel]._events)[:limit], top=answer.top)
        return answer


class NeverSaysMore(MemoryBackend):
    async def read(self, channel, after, limit=500):
        answer = await super().read(channel, after, limit)
        return replace(answer, more=False) if isinstance(answer, Page) else answer


class KeepsTooLittle(MemoryBackend):
    def __init__(self):
        super().__init__(Retention(events=999))


class NeverTrims(MemoryBackend):
    def __init__(self):
        super().__init__(Retention(events=1_000_000))


class LosesIdsOfTops(MemoryBackend):
    async def positions(self, channels):
        found = await super().positions(channels)
        return {name: Position(top.epoch, top.offset) for name, top in found.items()}


class MakesAnEpochForEachWhoAsks(MemoryBackend):
    async def positions(self, channels):
        found = await super().positions(channels)
        for channel, top in found.items():
            if not top.offset:
                del self._channels[channel]
        return found


class RotatesForAnyone(MemoryBackend):
    async def rotate_epoch(self, channel, expected_epoch):
        return await super().rotate_epoch(channel, self._history(channel).top.epoch)


class NeverRotates(MemoryBackend):
    async def rotate_epoch(self, channel, expected_epoch):
        return self._history(channel).top


class LatestIsOldest(MemoryBackend):
    async def latest(self, channel, *, after=0, limit=500):
        page = await super().latest(channel, after=after, limit=limit)
        return replace(page, events=page.events[::-1])


class DropsTheSource(MemoryBackend):
    async def append(self, events):
        return await super().append([
            Event(channel=e.channel, event=e.event, data=e.data, id=e.id, key=e.key)
            for e in events
        ])


class InterleavesBatches(MemoryBackend):
    async def append(self, events):
        return [r for e in sorted(events, key=lambda e: e.body, reverse=True)
                for r in await super(InterleavesBatches, self).append([e])]


LOGS = [
    ForgetsIds, NewestDataWins, IgnoresTheEpoch, IgnoresTheId, GivesPartOfAGap, NeverSaysMore,
    KeepsTooLittle, NeverTrims, LosesIdsOfTops, MakesAnEpochForEachWhoAsks, RotatesForAnyone,
    NeverRotates, LatestIsOldest, DropsTheSource, InterleavesBatches,
]


class Deaf(memory._MemoryListener):
    async def subscribe(self, channels):
        asyncio.get_running_loop().call_later(0.05, self._channels.update, dict.fromkeys(channels))


class HearsAll(memory._MemoryListener):
    def hear(self, events):
        self._channels.update({event.channel: None for event in events})
        return super().hear(events)


class NeverForgets(memory._MemoryListener):
    async def unsubscribe(self, channels):
        pass


class Reverses(memory._MemoryListener):
    async def __aiter__(self):
        async for turn in super().__aiter__():
            yield turn[::-1]


class NeverEnds(memory._MemoryListener):
    def __init__(self):
        super().__init__()
        self.heard.close = lambda: None


LISTENERS = [Deaf, HearsAll, NeverForgets, Reverses, NeverEnds]


def log_tests(log):
    class Broken(LogContract):
        @pytest_asyncio.fixture
        async def sender(self):
            async with log() as backend:
                yield backend

    return Broken


def feed_tests(listener):
    class Broken(FeedContract):
        patience = 0.2

        @pytest.fixture
        def sender(self, monkeypatch):
            monkeypatch.setattr(memory, "_MemoryListener", listener)
            return MemoryBackend()

        @pytest.fixture
        def receiver(self, sender):
            return sender

    return Broken


globals().update({f"Test{log.__name__}": log_tests(log) for log in LOGS})
globals().update({f"Test{ear.__name__}": feed_tests(ear) for ear in LISTENERS})
'''

FAULTS = [
    line.split()[1].split("(")[0]
    for line in BROKEN.splitlines()
    if line.endswith(("(MemoryBackend):", "(memory._MemoryListener):"))
]


def test_every_fault_is_caught(tmp_path: Path) -> None:
    (tmp_path / "test_broken.py").write_text(BROKEN)
    # A pytest of root's closes the folder that all of root's share: PostgreSQL could not pass.
    options = ("-q", "-rf", "-p", "no:cacheprovider", "--tb=no", "--basetemp=own")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    failed = {line.split("::")[1] for line in done.stdout.splitlines() if line.startswith("FAILED")}
    assert failed == {f"Test{fault}" for fault in FAULTS}, done.stdout
    assert " error" not in done.stdout.splitlines()[-1]
