"""Log and feed in Redis: streams keep history, one script is atomic, pub/sub notifies."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from redis.asyncio import RedisCluster

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.feed import Feed, Listener
from realtime_bridge.backend.listable_log import ListableLog
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.backend.unreadable import UnreadableEvents
from realtime_bridge.model import ids
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_BYTES, PAGE_EVENTS, Page
from realtime_bridge.model.position import Position, is_label
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.model.urls import redact
from realtime_bridge_backends.redis.checks import run_checks
from realtime_bridge_backends.redis.client_factory import (
    MAX_CONNECTIONS,
    close_client,
    create_client,
)
from realtime_bridge_backends.redis.errors import CALL_ERRORS, to_publish_error
from realtime_bridge_backends.redis.listener import RedisListener, pubsub_channel
from realtime_bridge_backends.redis.scripts import Argument, ScriptCall, ScriptRunner
from realtime_bridge_backends.redis.stored_events import halves, held_event
from realtime_bridge_backends.redis.timing import RedisTiming

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

CALL_BYTES = 1024 * 1024
"""The most bytes of one call: Redis serves no other client while a script runs."""

SCAN_KEYS = 1_000
"""Keys that one step of a scan looks at: Redis serves no other client meanwhile."""

_KEY_PARTS = ("meta", "events", "ids", "latest", "order")


class RedisBackend(ListableLog, Feed, Plugin):
    """Log and feed of all channels, each in a few keys of one slot; any process may append.

    Args:
        url: the server's address, see `client_factory.create_client`.
        prefix: the beginning of all keys and pub/sub channels.
        retention: the history that a channel keeps.
        timing: time limits.

    Raises:
        ConfigurationError: the URL is not an address of Redis.

    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "realtime",
        retention: Retention | None = None,
        timing: RedisTiming | None = None,
    ) -> None:
        limits = retention or Retention()
        self._server = f"Redis at {redact(url)}"
        self._prefix = prefix
        self._timing = timing or RedisTiming()
        self._create_client = partial(create_client, url, self._timing)
        self._client = self._create_client()
        self._scripts = ScriptRunner(self._client)
        self._publish = "SPUBLISH" if isinstance(self._client, RedisCluster) else "PUBLISH"
        self._limits = (limits.events, limits.bytes, round(limits.seconds * 1_000))
        self._unreadable = UnreadableEvents(self._server)
        # redis-py raises when its pool has no free connection; a semaphore waits.
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)

    def __str__(self) -> str:
        return self._server

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Return a log on the server at `REALTIME_REDIS_URL`."""
        from realtime_bridge_backends.redis.settings import RedisSettings

        return cls(RedisSettings.load().url, prefix=settings.prefix, retention=settings.retention)

    @classmethod
    def is_configured(cls) -> bool:
        """Return whether the environment names a server; the default address does not count."""
        from realtime_bridge_backends.redis.settings import RedisSettings

        return "url" in RedisSettings.load().model_fields_set

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await close_client(self._client)

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Append each channel's events by one script, all in one round trip."""
        if len(events) == 1:
            (answer,) = await self._run([self._append_call(events)])
            return _receipts(events, answer)
        indexes: dict[str, list[int]] = {}
        for index, event in enumerate(events):
            indexes.setdefault(event.channel, []).append(index)
        chunks = [chunk for numbers in indexes.values() for chunk in _chunks(events, numbers)]
        answers = await self._run(
            [self._append_call([events[n] for n in chunk]) for chunk in chunks]
        )
        receipts: dict[int, Receipt] = {}
        for chunk, answer in zip(chunks, answers, strict=True):
            receipts |= zip(chunk, _receipts([events[n] for n in chunk], answer), strict=True)
        return [receipts[index] for index in range(len(events))]

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return the events after a position, or a reset."""
        limits = (min(limit, PAGE_EVENTS), PAGE_BYTES)
        call = self._call("read", channel, after.epoch, after.offset, after.id or "", *limits)
        (answer,) = await self._read([call])
        top = _position(answer[1:4])
        if answer[0]:
            return Reset(reason=answer[0].decode(), top=top)
        events = self._events(channel, answer[5:])
        if len(events) < len(answer) - 5:  # a page may have no gap
            return Reset(reason="truncated", top=top)
        return Page(events=events, top=top, more=bool(answer[4]))

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return each channel's top."""
        names = list(channels)
        answers = await self._read([self._call("position", name) for name in names])
        return dict(zip(names, map(_position, answers), strict=True))

    async def latest(self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS) -> Page:
        """Return the latest event of each key."""
        limits = (min(limit, PAGE_EVENTS), PAGE_BYTES)
        (answer,) = await self._read([self._call("latest", channel, after, *limits)])
        events = self._events(channel, answer[5:])
        return Page(events=events, top=_position(answer[1:4]), more=bool(answer[4]))

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        """Begin a new epoch if `expected_epoch` is still the channel's."""
        call = self._call("rotate_epoch", channel, ids.epoch(), expected_epoch)
        (answer,) = await self._run([call])
        return _position(answer)

    async def channels(self) -> Sequence[str]:
        """Return the channels of this prefix, by a scan of the keys."""
        before, after = (text.encode() for text in (f"{self._prefix}:{{", "}:meta"))
        pattern = before + b"*" + after  # a prefix has no special character of patterns
        try:
            async with self._slots:
                keys = {key async for key in self._client.scan_iter(pattern, count=SCAN_KEYS)}
        except CALL_ERRORS as error:
            raise to_publish_error(error, self._server) from error
        return [key.removeprefix(before).removesuffix(after).decode() for key in keys]

    async def generation(self, configuration: str) -> int:
        """Return the generation of this configuration, stored in Redis."""
        key = f"{self._prefix}:generation"
        for operation in ("known_generation", "generation"):
            (answer,) = await self._run([ScriptCall(operation, [key], [configuration])])
            if answer is not None:
                break
        return int(answer)

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[Listener]:
        """Open a listener on separate connections."""
        listener = RedisListener(
            self._create_client,
            self._prefix,
            server=self._server,
            timing=self._timing,
            unreadable=self._unreadable,
        )
        async with listener:
            yield listener

    async def check(self) -> list[CheckResult]:
        """Check the server and its configuration."""
        keys = _keys(self._prefix, "doctor")
        return await run_checks(
            self._client, self._server, keys=keys, prefix=self._prefix, timing=self._timing
        )

    async def _read(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run calls that read; open the channels that do not exist, and read them again."""
        answers = await self._run(calls)
        missing = [number for number, answer in enumerate(answers) if answer is None]
        if missing:
            # The epoch comes from here: math.random of Redis has the same seed in every run.
            await self._run([ScriptCall("open", calls[n].keys, [ids.epoch()]) for n in missing])
            repeated = await self._run([calls[number] for number in missing])
            for number, answer in zip(missing, repeated, strict=True):
                answers[number] = answer
        return answers

    async def _run(self, calls: Sequence[ScriptCall]) -> list[Any]:
        if not calls:
            return []
        try:
            # The deadline includes the wait for a slot, and redis-py's own retries.
            async with asyncio.timeout(self._timing.call_seconds), self._slots:
                answers = await self._scripts.run(calls)
        except TimeoutError as error:
            late = TimeoutError(f"no answer within {self._timing.call_seconds:g} s")
            raise to_publish_error(late, self._server) from error
        except CALL_ERRORS as error:
            raise to_publish_error(error, self._server) from error
        for answer in answers:
            if isinstance(answer, Exception):
                raise to_publish_error(answer, self._server) from answer
        return answers

    def _call(self, operation: str, channel: str, *arguments: Argument) -> ScriptCall:
        return ScriptCall(operation, _keys(self._prefix, channel), arguments)

    def _events(self, channel: str, frames: Iterable[bytes]) -> tuple[Event, ...]:
        """Return the events of stored frames, without those that cannot be read."""
        return tuple(self._unreadable.read_all(channel, frames, held_event))

    def _append_call(self, events: Sequence[Event]) -> ScriptCall:
        channel = events[0].channel
        arguments: list[Argument] = [
            ids.epoch(),
            self._publish,
            pubsub_channel(self._prefix, channel),
            *self._limits,
        ]
        for event in events:
            arguments += (event.id, event.key or "", len(event.body), *halves(event))
        return self._call("append", channel, *arguments)


@lru_cache(maxsize=65_536)
def _keys(prefix: str, channel: str) -> tuple[str, ...]:
    # The braces are a hash tag: a Cluster puts all keys of a channel into one slot.
    return tuple(f"{prefix}:{{{channel}}}:{part}" for part in _KEY_PARTS)


def _chunks(events: Sequence[Event], indexes: Sequence[int]) -> Iterator[Sequence[int]]:
    """Divide one channel's part of a batch into chunks of at most `CALL_BYTES`."""
    start = size = 0
    for end, index in enumerate(indexes):
        length = len(events[index].body)
        if size + length > CALL_BYTES and end > start:
            yield indexes[start:end]
            start, size = end, 0
        size += length
    yield indexes[start:]


def _receipts(events: Sequence[Event], answer: Sequence[Any]) -> list[Receipt]:
    epoch = answer[0].decode()  # then an offset and a duplicate flag per event
    return [
        Receipt(
            id=event.id,
            position=Position(epoch, answer[number], event.id),
            duplicate=bool(answer[number + 1]),
        )
        for number, event in zip(range(1, len(answer), 2), events, strict=True)
    ]


def _position(answer: Sequence[Any]) -> Position:
    epoch, offset, event_id = answer
    label = event_id.decode(errors="replace")
    return Position(epoch.decode(), offset, label if is_label(label) else None)
