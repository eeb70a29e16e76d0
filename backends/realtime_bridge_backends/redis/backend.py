"""The log itself: streams for history, scripts for atomicity, pub/sub for announcement."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from redis.asyncio import RedisCluster

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.feed import Feed, Listener
from realtime_bridge.backend.log import Log
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.model import ids
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_BYTES, PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.wire import messages
from realtime_bridge.settings import EnvironmentSettings
from realtime_bridge_backends.redis.checks import run_checks
from realtime_bridge_backends.redis.client_factory import AT_ONCE, client_for, close, shown
from realtime_bridge_backends.redis.errors import LOST, explained
from realtime_bridge_backends.redis.listener import RedisListener, announcement
from realtime_bridge_backends.redis.scripts import Argument, Call, Operations

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

CALL_BYTES = 1024 * 1024
"""A channel's part of a batch is cut into calls of this size, so that none holds Redis up long."""

_PARTS = ("meta", "events", "ids", "latest", "order")


@dataclass(frozen=True, kw_only=True)
class RedisSettings(EnvironmentSettings):
    """Where Redis is."""

    env_prefix: ClassVar[str] = "REALTIME_REDIS_"
    env_aliases: ClassVar[Mapping[str, str]] = {"url": "REDIS_URL"}

    url: str = field(default="redis://127.0.0.1:6379/0", repr=False)


class RedisBackend(Log, Feed, Plugin):
    """Keeps each channel in a few keys of its own hash slot; any process may append and listen.

    Args:
        url: the server's address, see `address.client_for`.
        prefix: what all keys and channels begin with.
        retention: how much history a channel keeps.

    Raises:
        ConfigurationError: the url is no address of Redis.

    """

    def __init__(
        self, url: str, *, prefix: str = "realtime", retention: Retention | None = None
    ) -> None:
        kept = retention or Retention()
        self._where = f"Redis at {shown(url)}"
        self._prefix = prefix
        self._connect = partial(client_for, url)
        self._client = self._connect()
        self._operations = Operations(self._client)
        self._publish = "SPUBLISH" if isinstance(self._client, RedisCluster) else "PUBLISH"
        self._limits = (kept.events, kept.bytes, round(kept.seconds * 1_000))
        self._room = asyncio.Semaphore(AT_ONCE)

    def __str__(self) -> str:
        return self._where

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Make one for the server at `REALTIME_REDIS_URL`."""
        return cls(RedisSettings.load().url, prefix=settings.prefix, retention=settings.retention)

    @classmethod
    def is_configured(cls) -> bool:
        """Tell whether `REALTIME_REDIS_URL` is set: its default is for who chose Redis."""
        return "url" in RedisSettings.given()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await close(self._client)

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Append each channel's events by one script, all in one round trip."""
        if len(events) == 1:
            (answer,) = await self._run([self._append(events)])
            return _receipts(events, answer)
        numbers: dict[str, list[int]] = {}
        for number, event in enumerate(events):
            numbers.setdefault(event.channel, []).append(number)
        parts = [part for run in numbers.values() for part in _slices(events, run)]
        answers = await self._run([self._append([events[n] for n in part]) for part in parts])
        receipts: dict[int, Receipt] = {}
        for part, answer in zip(parts, answers, strict=True):
            receipts |= zip(part, _receipts([events[n] for n in part], answer), strict=True)
        return [receipts[number] for number in range(len(events))]

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return what follows `after`, or a reset."""
        asked = (after.epoch, after.offset, after.id or "", min(limit, PAGE_EVENTS), PAGE_BYTES)
        (answer,) = await self._run([self._call("read", channel, *asked)])
        if answer[0]:
            return Reset(reason=answer[0].decode(), top=_position(answer[1:4]))
        return _page(answer)

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return each channel's top."""
        names = list(channels)
        answers = await self._run([self._call("position", name) for name in names])
        return dict(zip(names, map(_position, answers), strict=True))

    async def latest(self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS) -> Page:
        """Return the latest event of each key."""
        asked = (after, min(limit, PAGE_EVENTS), PAGE_BYTES)
        (answer,) = await self._run([self._call("latest", channel, *asked)])
        return _page(answer)

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        """Begin a new epoch, if `expected_epoch` is still the channel's."""
        (answer,) = await self._run([self._call("rotate_epoch", channel, expected_epoch)])
        return _position(answer)

    async def generation(self, configuration: str) -> int:
        """Return the generation of this configuration, which Redis remembers."""
        key = f"{self._prefix}:generation"
        (answer,) = await self._run([Call("generation", [key], [configuration])])
        return int(answer)

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[Listener]:
        """Open a listener on connections of its own."""
        async with RedisListener(self._connect, self._prefix, where=self._where) as listener:
            yield listener

    async def check(self) -> list[CheckResult]:
        """Look whether the server is there, and set up as a log needs it."""
        return await run_checks(self._client, self._where, prefix=self._prefix)

    async def _run(self, calls: Sequence[Call]) -> list[Any]:
        if not calls:
            return []
        try:
            async with self._room:
                answers = await self._operations.run(calls)
        except LOST as error:
            raise explained(error, self._where) from error
        for answer in answers:
            if isinstance(answer, Exception):
                raise explained(answer, self._where) from answer
        return answers

    def _call(self, name: str, channel: str, *arguments: Argument) -> Call:
        keys = _keys(self._prefix, channel)
        return Call(name, keys, (ids.epoch(), *arguments))

    def _append(self, events: Sequence[Event]) -> Call:
        channel = events[0].channel
        arguments: list[Argument] = [
            self._publish,
            announcement(self._prefix, channel),
            *self._limits,
        ]
        for event in events:
            arguments += (event.id, event.key or "", len(event.body), *messages.halves(event))
        return self._call("append", channel, *arguments)


@lru_cache(maxsize=65_536)
def _keys(prefix: str, channel: str) -> tuple[str, ...]:
    return tuple(f"{prefix}:{{{channel}}}:{part}" for part in _PARTS)


def _slices(events: Sequence[Event], numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Cut one channel's part of a batch into calls of a bounded size."""
    start = size = 0
    for end, number in enumerate(numbers):
        length = len(events[number].body)
        if size + length > CALL_BYTES and end > start:
            yield numbers[start:end]
            start, size = end, 0
        size += length
    yield numbers[start:]


def _receipts(events: Sequence[Event], answer: Sequence[Any]) -> list[Receipt]:
    epoch = answer[0].decode()
    return [
        Receipt(
            id=event.id,
            position=Position(epoch, answer[number], event.id),
            duplicate=bool(answer[number + 1]),
        )
        for number, event in zip(range(1, len(answer), 2), events, strict=True)
    ]


def _position(answer: Sequence[Any]) -> Position:
    epoch, offset, held = answer
    return Position(epoch.decode(), offset, held.decode() or None)


def _page(answer: Sequence[Any]) -> Page:
    events = tuple(map(messages.held_event, answer[5:]))
    return Page(events=events, top=_position(answer[1:4]), more=bool(answer[4]))
