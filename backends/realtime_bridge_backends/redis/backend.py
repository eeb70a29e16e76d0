"""Log and feed in Redis: streams keep history, one script is atomic, pub/sub notifies."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from redis.asyncio import RedisCluster

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.feed import EphemeralFeed, Listener
from realtime_bridge.backend.listable_log import ListableLog
from realtime_bridge.backend.log import FoldingLog, JoiningLog, Result
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.backend.unreadable import UnreadableEvents
from realtime_bridge.errors import PublishError
from realtime_bridge.model import ids
from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_BYTES, PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.model.urls import redact
from realtime_bridge.protocol.wire.stored_messages import held_event
from realtime_bridge_backends.redis.checks import run_checks
from realtime_bridge_backends.redis.client_factory import (
    close_client,
    create_client,
)
from realtime_bridge_backends.redis.command_connection import Argument
from realtime_bridge_backends.redis.errors import CALL_ERRORS, to_publish_error
from realtime_bridge_backends.redis.listener import RedisListener, pubsub_channel
from realtime_bridge_backends.redis.script_values import (
    append_arguments,
    by_channel,
    channel_keys,
    chunks_of,
    position_of,
    receipts_of,
    renewals_of,
)
from realtime_bridge_backends.redis.scripts import ScriptCall, ScriptRunner
from realtime_bridge_backends.redis.timing import RedisTiming

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

SCAN_KEYS = 1_000
"""Keys that one step of a scan looks at: Redis serves no other client meanwhile."""

_IS_DUE = 1
"""Answer of an operation that reads, where a write is due first: see log.lua."""

_Read = tuple[str, str, tuple[Argument, ...]]
"""Operation that reads, its channel and its arguments."""

_logger = logging.getLogger("realtime_bridge.backend")


class RedisBackend(ListableLog, FoldingLog, JoiningLog, EphemeralFeed, Plugin):
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
        self._scripts = ScriptRunner(self._client, call_seconds=self._timing.call_seconds)
        self._publish = "SPUBLISH" if isinstance(self._client, RedisCluster) else "PUBLISH"
        self._limits = (limits.events, limits.bytes, round(limits.seconds * 1_000))
        self._unreadable = UnreadableEvents(self._server)

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
        await self._scripts.close()
        await close_client(self._client)

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Append each channel's events by one script, all in one round trip."""
        if len(events) == 1:
            (answer,) = await self._run([self._append_call(events)])
            return receipts_of(events, answer)
        outcomes = await self._append(events)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, Receipt)]

    async def append_joined(self, batches: Sequence[Sequence[Event]]) -> list[Result]:
        """Append the batches as `append` does: a script that fails fails the batches in it."""
        outcomes = iter(await self._append([event for batch in batches for event in batch]))
        results: list[Result] = []
        for batch in batches:
            own = list(islice(outcomes, len(batch)))
            failures = [outcome for outcome in own if isinstance(outcome, PublishError)]
            receipts = [outcome for outcome in own if isinstance(outcome, Receipt)]
            results.append(failures[0] if failures else receipts)
        return results

    async def _append(self, events: Sequence[Event]) -> list[Receipt | PublishError]:
        """Append events, and return the outcome of each."""
        chunks = [
            chunk for numbers in by_channel(events).values() for chunk in chunks_of(events, numbers)
        ]
        parts = [[events[number] for number in chunk] for chunk in chunks]
        answers = await self._answers(list(map(self._append_call, parts)))
        outcomes: dict[int, Receipt | PublishError] = {}
        for chunk, part, answer in zip(chunks, parts, answers, strict=True):
            if isinstance(answer, Exception):
                failure = to_publish_error(answer, self._server)
                failure.__cause__ = answer
                outcomes |= dict.fromkeys(chunk, failure)
            else:
                outcomes |= zip(chunk, receipts_of(part, answer), strict=True)
        return [outcomes[number] for number in range(len(events))]

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return the events after a position, or a reset."""
        return await self._page(channel, (after.epoch, after.offset, after.id or ""), limit)

    async def oldest(self, channel: str, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return the oldest events of a channel."""
        return await self._page(channel, ("", 0, ""), limit)

    async def _page(self, channel: str, position: tuple[str, int, str], limit: int) -> Page | Reset:
        limits = (min(limit, PAGE_EVENTS), PAGE_BYTES)
        (answer,) = await self._read([("read", channel, (*position, *limits))])
        top = position_of(answer[1:4])
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
        return dict(zip(names, map(position_of, answers), strict=True))

    async def latest(
        self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS, key: str | None = None
    ) -> Page:
        """Return the latest event of each key, or the state of one."""
        arguments = (after, min(limit, PAGE_EVENTS), PAGE_BYTES, key or "")
        (answer,) = await self._read([("latest", channel, arguments)])
        events = self._events(channel, answer[5:])
        return Page(events=events, top=position_of(answer[1:4]), more=bool(answer[4]))

    async def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        """Restart each channel's leases by one script, all in one round trip."""
        indexes = by_channel(leases)
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
            renewals |= zip(numbers, renewals_of(answer), strict=True)
        return [renewals[index] for index in range(len(leases))]

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        """Begin a new epoch if `expected_epoch` is still the channel's."""
        call = self._call("rotate_epoch", channel, ids.epoch(), expected_epoch)
        (answer,) = await self._run([call])
        return position_of(answer)

    async def channels(self, *, stored: bool = False) -> Sequence[str]:
        """Return the channels of this prefix, by a scan of the keys."""
        part = "events" if stored else "meta"
        before, after = (text.encode() for text in (f"{self._prefix}:{{", f"}}:{part}"))
        pattern = before + b"*" + after  # a prefix has no special character of patterns
        try:
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

    async def send_ephemeral(self, event: EphemeralEvent) -> None:
        """Publish an event that no log keeps, on the pub/sub channel of its channel."""
        name = pubsub_channel(self._prefix, event.channel)
        try:
            async with asyncio.timeout(self._timing.call_seconds):
                await self._scripts.send(self._publish, name, event.encode())
        except TimeoutError as error:
            late = TimeoutError(f"no answer within {self._timing.call_seconds:g} s")
            raise to_publish_error(late, self._server) from error
        except CALL_ERRORS as error:
            raise to_publish_error(error, self._server) from error

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
        keys = channel_keys(self._prefix, "doctor")
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
        """Open the channels that do not exist; do in the others what is due."""
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
        answers = await self._answers(calls)
        for answer in answers:
            if isinstance(answer, Exception):
                raise to_publish_error(answer, self._server) from answer
        return answers

    async def _answers(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run calls; the answer to a failed one is its exception."""
        if not calls:
            return []
        try:
            # The deadline includes the time to connect, and the retries.
            async with asyncio.timeout(self._timing.call_seconds):
                return await self._scripts.run(calls)
        except TimeoutError as error:
            late = TimeoutError(f"no answer within {self._timing.call_seconds:g} s")
            raise to_publish_error(late, self._server) from error
        except CALL_ERRORS as error:
            raise to_publish_error(error, self._server) from error

    def _call(self, operation: str, channel: str, *arguments: Argument) -> ScriptCall:
        return ScriptCall(operation, channel_keys(self._prefix, channel), arguments)

    def _events(self, channel: str, frames: Iterable[bytes]) -> tuple[Event, ...]:
        """Return the events of stored frames, without those that cannot be read."""
        return tuple(self._unreadable.read_all(channel, frames, held_event))

    def _append_call(self, events: Sequence[Event]) -> ScriptCall:
        return self._writing_call("append", events[0].channel, append_arguments(events))

    def _writing_call(
        self, operation: str, channel: str, arguments: Iterable[Argument] = ()
    ) -> ScriptCall:
        announcement = (self._publish, pubsub_channel(self._prefix, channel))
        given = (ids.epoch(), *announcement, *self._limits, *arguments)
        return self._call(operation, channel, *given)

    def _reading_call(self, read: _Read, *, ignore_leases: bool) -> ScriptCall:
        operation, channel, arguments = read
        return self._call(operation, channel, int(ignore_leases), *arguments)
