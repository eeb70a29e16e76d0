"""Log and feed in Redis: streams keep history, one script is atomic, pub/sub notifies."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from msgspec import msgpack
from redis.asyncio import RedisCluster

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.feed import Feed, Listener
from realtime_bridge.backend.listable_log import ListableLog
from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.backend.unreadable import UnreadableEvents
from realtime_bridge.errors import PublishError
from realtime_bridge.model import ids
from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import KeyWrite, Will
from realtime_bridge.model.page import PAGE_BYTES, PAGE_EVENTS, Page
from realtime_bridge.model.position import Position, is_label
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
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

_IS_DUE = 1
"""Answer of an operation that reads, where a lease ran out."""

_Read = tuple[str, str, tuple[Argument, ...]]
"""Operation that reads, its channel and its arguments."""

_logger = logging.getLogger("realtime_bridge.backend")

_KEY_PARTS = ("meta", "events", "ids", "latest", "order", "owned", "parts", "leases")


class RedisBackend(ListableLog, FoldingLog, Feed, Plugin):
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
        indexes = _by_channel(events)
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
        position = (after.epoch, after.offset, after.id or "")
        (answer,) = await self._read([("read", channel, (*position, *limits))])
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
        answers = await self._read([("position", name, ()) for name in names])
        return dict(zip(names, map(_position, answers), strict=True))

    async def latest(
        self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS, key: str | None = None
    ) -> Page:
        """Return the latest event of each key, or the state of one."""
        arguments = (after, min(limit, PAGE_EVENTS), PAGE_BYTES, key or "")
        (answer,) = await self._read([("latest", channel, arguments)])
        events = self._events(channel, answer[5:])
        return Page(events=events, top=_position(answer[1:4]), more=bool(answer[4]))

    async def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        """Restart each channel's leases by one script, all in one round trip."""
        indexes = _by_channel(leases)
        calls = [
            self._writing_call(
                "renew",
                channel,
                (text for n in numbers for text in (leases[n].key, leases[n].attempt)),
            )
            for channel, numbers in indexes.items()
        ]
        renewals: dict[int, Renewal] = {}
        for numbers, answer in zip(indexes.values(), await self._run(calls), strict=True):
            renewals |= zip(numbers, _renewals(answer), strict=True)
        return [renewals[index] for index in range(len(leases))]

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

    async def _read(self, reads: Sequence[_Read]) -> list[Any]:
        """Run operations that read; prepare the channels that need a write, and read them again."""
        answers = await self._run([self._reading_call(read, ignore_leases=False) for read in reads])
        for _ in range(2):  # a channel that was opened may have a lease that ran out
            repeated = [
                n for n, answer in enumerate(answers) if answer is None or answer == _IS_DUE
            ]
            if not repeated:
                break
            await self._prepare({reads[n][1]: answers[n] is None for n in repeated})
            calls = [
                self._reading_call(reads[n], ignore_leases=answers[n] == _IS_DUE) for n in repeated
            ]
            for number, answer in zip(repeated, await self._run(calls), strict=True):
                answers[number] = answer
        return answers

    async def _prepare(self, channels: Mapping[str, bool]) -> None:
        """Open the channels that do not exist; in others, end the keys whose leases ran out."""
        # The epoch comes from here: math.random of Redis has the same seed in every run.
        opens = [
            self._call("open", name, ids.epoch()) for name, is_new in channels.items() if is_new
        ]
        await self._run(opens)
        lapses = [
            self._writing_call("lapse", name) for name, is_new in channels.items() if not is_new
        ]
        try:
            await self._run(lapses)
        except PublishError as error:
            # A full Redis refuses writes, and reads must go on: a later operation ends these keys.
            _logger.warning("leases not ended: server=%s error=%s", self._server, error)

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
        arguments: list[Argument] = []
        for event in events:
            arguments += (event.id, event.key or "", len(event.body), *halves(event))
            arguments.append(b"" if event.write is None else _pack_change(event, event.write))
        return self._writing_call("append", events[0].channel, arguments)

    def _writing_call(
        self, operation: str, channel: str, arguments: Iterable[Argument] = ()
    ) -> ScriptCall:
        announcement = (self._publish, pubsub_channel(self._prefix, channel))
        given = (ids.epoch(), *announcement, *self._limits, *arguments)
        return self._call(operation, channel, *given)

    def _reading_call(self, read: _Read, *, ignore_leases: bool) -> ScriptCall:
        operation, channel, arguments = read
        return self._call(operation, channel, int(ignore_leases), *arguments)


def _pack_change(event: Event, write: KeyWrite) -> bytes:
    """Return the change of an owned key; Lua's reader of MessagePack knows no bytes, only text."""
    fields: dict[str, Any] = {"fold": write.fold, "attempt": write.attempt}
    fields |= {"take": write.take, "lease": write.lease}
    if write.will is not None:
        head, tail = halves(_will_event(event, write, write.will))
        # The log gives the id: it ends with the offset.
        head = head.removesuffix(b'"%b"' % _WILL_ID) + b'"'
        fields["will"] = [head.decode(), tail.decode(), len(write.will.body)]
    return _encode_change({name: value for name, value in fields.items() if value is not None})


def _will_event(event: Event, write: KeyWrite, will: Will) -> Event:
    return Event.from_trusted(
        event.channel,
        will.event,
        will.body,
        id=_WILL_ID.decode(),
        key=event.key,
        source=None,
        time=None,
        position=None,
        write=KeyWrite("lapse", write.attempt),
    )


_WILL_ID = b"-"
_encode_change = msgpack.Encoder().encode


def _by_channel(items: Sequence[Event | Lease]) -> dict[str, list[int]]:
    """Return the indexes of each channel's items."""
    indexes: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        indexes.setdefault(item.channel, []).append(index)
    return indexes


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
    # The epoch; then per event its offset, 1 for a duplicate or the reason of a refusal, the note.
    epoch = answer[0].decode()
    receipts = []
    for number, event in zip(range(1, len(answer), 3), events, strict=True):
        offset, outcome, noted = answer[number : number + 3]
        if offset:
            position = Position(epoch, offset, event.id)
            duplicate = bool(outcome)
            receipts.append(
                Receipt(id=event.id, position=position, duplicate=duplicate, noted=noted)
            )
        else:
            receipts.append(Receipt(id=event.id, refused=outcome.decode(), noted=noted))
    return receipts


def _renewals(answer: Sequence[Any]) -> list[Renewal]:
    return [
        Renewal(refused.decode() or None, noted)
        for refused, noted in zip(answer[::2], answer[1::2], strict=True)
    ]


def _position(answer: Sequence[Any]) -> Position:
    epoch, offset, event_id = answer
    label = event_id.decode(errors="replace")
    return Position(epoch.decode(), offset, label if is_label(label) else None)
