"""Streams of one broadcaster: their writers, their leases, and what the log has of them."""

import logging
from collections.abc import Coroutine, Sequence
from typing import Any, Literal, Protocol, get_args

from msgspec import Struct

from realtime_bridge.backend.push import Backend
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model import ids
from realtime_bridge.model.channel import check_channel
from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import check_attempt
from realtime_bridge.model.page import Page
from realtime_bridge.model.receipt import Lease, Receipt
from realtime_bridge.protocol.streams.snapshot import (
    ENDED,
    StreamPhase,
    StreamSnapshot,
    check_stream,
    fold_group,
    stream_key,
)
from realtime_bridge.protocol.streams.writer_state import StreamFormat, StreamState
from realtime_bridge.publishing.lease_keeper import LeaseKeeper
from realtime_bridge.publishing.owned_keys import OwnedKeys
from realtime_bridge.publishing.stream_writer import StreamWriter
from realtime_bridge.publishing.timing import PublishTiming

PACE = 0.05
"""Shortest time between two parts, in seconds, where the backend has no longer one."""

_logger = logging.getLogger("realtime_bridge.publishing")


class StopReply(Struct, frozen=True):
    """Answer to the request to stop a stream.

    Args:
        outcome: `stopped`, or the reason for which it was not.
        state: state of the stream.

    """

    outcome: Literal["stopped", "ended", "superseded", "unknown"]
    state: StreamPhase


class StreamBroadcaster(Protocol):
    """Broadcaster, as its streams need it."""

    backend: Backend | None
    limit_event_bytes: int

    async def publish_many(self, events: Sequence[Event]) -> list[Receipt]:
        """Publish events in order; see `Broadcaster.publish_many`."""


class Streams:
    """Streams of one broadcaster, in its event loop.

    Args:
        broadcaster: publishes.
        keys: the keys in the log.
        timing: limits of the waits.

    """

    def __init__(
        self, broadcaster: StreamBroadcaster, keys: OwnedKeys, timing: PublishTiming
    ) -> None:
        self._broadcaster = broadcaster
        self._keys = keys
        self._timing = timing
        self._writers = Supervisor()
        self.leases: LeaseKeeper = keys.leases

    async def close(self) -> None:
        """End the writers, after a wait for their last items."""
        if lost := await self._writers.finish(self._timing.close_seconds):
            _logger.warning(
                "stream items lost streams=%d reason=%r", lost, "the broadcaster was closed"
            )

    def writer(
        self,
        channel: str,
        stream: str,
        *,
        format: StreamFormat,  # noqa: A002 -- the field's name on the wire
        meta: Any,
        attempt: str | None,
        pace: float | None,
    ) -> StreamWriter:
        """Return the writer of a stream.

        Raises:
            InvalidEventError: the channel, the id, the format or the attempt is not valid.

        """
        check_channel(channel)
        check_stream(stream)
        if format not in get_args(StreamFormat):
            raise InvalidEventError(
                f"Bad format {str(format)[:80]!r}: use {', '.join(get_args(StreamFormat))}"
            )
        check_attempt(attempt)
        if pace is None:
            backend = self._broadcaster.backend
            pace = max(PACE, backend.limits.stream_seconds) if backend else PACE
        state = StreamState(
            channel,
            stream,
            attempt=attempt or ids.nonce(),
            nonce=ids.nonce(),
            format=format,
            meta=meta,
            pace=pace,
            limit=self._broadcaster.limit_event_bytes,
        )
        return StreamWriter(self, state, Lease(channel, stream_key(stream), state.attempt))

    async def read(self, channel: str, stream: str) -> StreamSnapshot | None:
        """Return the state of a stream; None for an unknown one."""
        page = await self.read_key(check_channel(channel), stream_key(check_stream(stream)))
        snapshot = fold_group(page.events)
        return snapshot if snapshot.state != "unknown" else None

    async def stop(
        self, channel: str, stream: str, *, attempt: str | None = None, by: str | None = None
    ) -> StopReply:
        """Stop a stream for the attempt that writes it now: a late stop cannot end a later one."""
        snapshot = await self.read(channel, stream)
        if snapshot is None or snapshot.attempt is None:
            return StopReply("unknown", "unknown")
        if attempt is not None and attempt != snapshot.attempt:
            return StopReply("superseded", snapshot.state)
        data = {"stream": stream, "state": "stopped", "error": None, "by": by}
        fields: dict[str, Any] = {"key": stream_key(stream), "fold": "end"}
        stop = Event(channel=channel, event=ENDED, data=data, attempt=snapshot.attempt, **fields)
        (receipt,) = await self._broadcaster.publish_many([stop])
        match receipt.refused:
            case None:
                return StopReply("stopped", "stopped")
            case "superseded":
                return StopReply("superseded", snapshot.state)
        # It may have ended between the two calls.
        snapshot = await self.read(channel, stream)
        if snapshot is None:
            return StopReply("unknown", "unknown")  # the log lost it in between
        return StopReply("ended", snapshot.state)

    async def read_key(self, channel: str, key: str) -> Page:
        """Return the group of a key.

        Raises:
            ConfigurationError: the log keeps no streams, or there is none.
            PublishError: the log did not answer.

        """
        return await self._keys.read(channel, key)

    async def publish_many(self, events: Sequence[Event]) -> list[Receipt]:
        """Publish events in order; see `Broadcaster.publish_many`."""
        return await self._broadcaster.publish_many(events)

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> Any:
        """Start a writer's work."""
        return self._writers.spawn(name, work)
