"""Random histories of keys with owners, run on a log and on the model of its rules."""

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.model import ids
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import History
from realtime_bridge.testing.contracts.samples import content, new_channel

Elapse = Callable[[str, float], Awaitable[None]]
"""Function that makes these seconds pass for the leases of a channel."""

KEYS, ATTEMPTS, NOTES = ("a", "b", "c"), ("A", "B"), ("asked", "answered")
STEPS = 40

# No sum of steps and pauses is within 40 s of a lease, or of the difference between two leases:
# neither a slow machine nor a clock that is corrected decides which lease ran out first.
STEP_SECONDS = 300.0
LEASES: Sequence[int] = (1_860, 2_300)
PAUSES: Sequence[float] = (730.0, 1_930.0, 4_330.0)


class FoldingModel:
    """History of one channel in virtual time."""

    def __init__(self) -> None:
        self.now: float = 0.0
        self.history: History = History(ids.epoch(), now=0.0, retention=Retention(seconds=10**9))

    def append(self, events: list[Event]) -> list[Receipt]:
        """Append events, then end the owners that are silent."""
        receipts = [self.history.append(event, now=self.now, time=1)[0] for event in events]
        self.history.lapse(self.now, 1)
        return receipts

    def renew(self, leases: list[Lease]) -> list[Renewal]:
        """Renew leases, after the end of the owners that are silent."""
        self.history.lapse(self.now, 1, [lease.key for lease in leases])
        return [self.history.renew(lease.key, lease.attempt, self.now) for lease in leases]

    def latest(self, key: str | None) -> Page:
        """Return the latest events, after the end of the owners that are silent."""
        self.history.lapse(self.now, 1)
        return self.history.latest(key=key)

    def rotate(self) -> Position:
        """Begin a new epoch."""
        self.history = self.history.rotated(ids.epoch(), now=self.now)
        return self.history.top


async def compare_history(log: FoldingLog, elapse: Elapse, seed: int) -> None:
    """Run one random history on the log and on the model, and compare every answer."""
    comparison = _Comparison(log, elapse, seed)
    for step in range(STEPS):
        await comparison.step(f"seed {seed}, step {step}")


class _Comparison:
    def __init__(self, log: FoldingLog, elapse: Elapse, seed: int) -> None:
        self._log, self._model, self._elapse = log, FoldingModel(), elapse
        self._random = Random(seed)  # noqa: S311 -- the same history for the same seed
        self._channel = new_channel()
        self._sent: list[Event] = []

    async def step(self, where: str) -> None:
        """Take a random step, and compare the answers."""
        await self._wait(STEP_SECONDS)
        steps = (self._append, self._pause, self._renew, self._rotate)
        (step,) = self._random.choices(steps, (12, 3, 3, 0.5))
        await step(where)
        for key in (None, *KEYS):
            page = await self._log.latest(self._channel, key=key)
            assert _state(page) == _state(self._model.latest(key)), f"{where}, key {key}"

    async def _append(self, where: str) -> None:
        count = self._random.randint(1, 4)
        events = [_event(self._random, self._channel, self._sent) for _ in range(count)]
        self._sent += events
        receipts = [_receipt(receipt) for receipt in await self._log.append(events)]
        assert receipts == [_receipt(receipt) for receipt in self._model.append(events)], where

    async def _pause(self, _: str) -> None:
        await self._wait(self._random.choice(PAUSES))

    async def _renew(self, where: str) -> None:
        choice = self._random.choice
        leases = [Lease(self._channel, choice(KEYS), choice(ATTEMPTS)) for _ in range(2)]
        assert await self._log.renew(leases) == self._model.renew(leases), where

    async def _rotate(self, where: str) -> None:
        # A rotation ends no owners, so the positions are read first.
        self._model.latest(None)
        top = (await self._log.positions([self._channel]))[self._channel]
        rotated = await self._log.rotate_epoch(self._channel, top.epoch)
        assert _place(rotated) == _place(self._model.rotate()), where

    async def _wait(self, seconds: float) -> None:
        self._model.now += seconds
        await self._elapse(self._channel, seconds)


def _event(random: Random, channel: str, sent: list[Event]) -> Event:
    if sent and random.random() < 0.1:  # noqa: PLR2004 -- a repeated publish, with the same id
        return random.choice(sent)
    key, attempt = random.choice(KEYS), random.choice(ATTEMPTS)
    kind = random.choices(
        ("plain", "note", "take", "take end", "replace", "append", "end", "leave"),
        (1, 3, 4, 1, 2, 12, 2, 1),
    )[0]
    take = random.choice(("always", "open", "absent"))
    fields: dict[str, Any] = {
        "plain": {},
        "note": {"event": random.choice(NOTES), "fold": "note"},
        "take": {"attempt": attempt, "take": take, **_lease(random)},
        "take end": {"attempt": attempt, "take": take, "fold": "end"},
        "replace": {"attempt": attempt},
        "append": {"attempt": attempt, "fold": "append", "data": _items(random)},
        "end": {"attempt": attempt, "fold": "end"},
        "leave": {"attempt": attempt, "lease": 0},
    }[kind]
    return Event(channel=channel, key=key, **{"event": kind, "data": random.random(), **fields})


def _lease(random: Random) -> dict[str, Any]:
    if random.random() < 0.3:  # noqa: PLR2004 -- an owner without a lease
        return {}
    return {"lease": random.choice(LEASES), "will": {"event": "lost", "data": [1, "x"]}}


def _items(random: Random) -> list[Any]:
    if random.random() < 0.05:  # noqa: PLR2004 -- three of these fill a key
        return ["x" * 400_000]
    return [
        random.choice((1, "a,b", "]", {"data": [None]}, "é" * 300))
        for _ in range(random.randint(0, 3))
    ]


def _receipt(receipt: Receipt) -> tuple[Any, ...]:
    offset = receipt.position and receipt.position.offset
    return receipt.id, offset, receipt.duplicate, receipt.refused, receipt.noted


def _place(position: Position) -> tuple[Any, ...]:
    return position.offset, position.id


def _state(page: Page) -> tuple[Any, ...]:
    events = [
        (*content(event), event.fold, event.attempt, event.position and event.position.offset)
        for event in page.events
    ]
    return events, _place(page.top), page.more
