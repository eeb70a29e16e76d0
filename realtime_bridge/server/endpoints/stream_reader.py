"""Reader of one stream over HTTP: the state of its key, then the events of its channel."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import orjson

from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.protocol.streams.encoder import StreamEncoder
from realtime_bridge.protocol.streams.steps import Step, read_group, read_step
from realtime_bridge.protocol.wire import messages
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.protocol.wire.server_sent_events import COMMENT
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.fanout.subscriber import Subscriber
from realtime_bridge.server.http.request import DISCONNECTED, Request, Send
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.registry import RegisteredClient
from realtime_bridge.server.services import ConnectionServices

_LONGEST_SECONDS = 86_400.0
"""Longest response, in seconds: some event loops refuse a timer that never ends."""

_PIECE_BYTES = 64 * 1024
"""Longest piece: a slow reader of a long answer is not stalled, and buffers stay small."""

LoadGroup = Callable[[], Awaitable[Page]]
"""Returns the events that describe the state of the stream's key."""


class StreamReader(Subscriber, RegisteredClient):
    """Open response for one reader; it has a slot of the user's connections until it ends.

    Events that arrive while the reader is slow stay in the log: they are read from there later.

    Args:
        services: the parts of the server.
        principal: the reader.
        channel: channel of the stream.
        key: key of the stream.
        start: the state of the key, or the position from which the reader resumes.
        load: loads the state of the key.
        encoder: encodes the response.

    """

    transport = "stream"

    def __init__(
        self,
        services: ConnectionServices,
        principal: Principal,
        channel: str,
        key: str,
        *,
        start: Page | Position,
        load: LoadGroup,
        encoder: StreamEncoder,
    ) -> None:
        self._services = services
        self._principal = principal
        self._key = key
        self._start: Page | Position | None = start
        self._load = load
        self._encoder = encoder
        self._subscription = ChannelSubscription(channel)
        self._queue: deque[Page | Reset | bytes] = deque()
        self._queued_bytes = 0
        self._is_behind = False
        """True while the log has events that the hub does not deliver here."""
        self._has_news = asyncio.Event()
        self._ended = asyncio.Event()
        self._reason: str | None = None
        """Reason for which the server ends the response."""

    async def serve(self, head: Response, request: Request, send: Send, *, head_only: bool) -> None:
        """Send the response until either side ends it.

        Args:
            head: the status and the headers.
            request: the request.
            send: sends a part of the response.
            head_only: whether to send the head alone.

        """
        services, channel = self._services, self._subscription.channel
        services.registry.add(self)
        expiry = asyncio.get_running_loop().call_later(
            self._token_seconds(), self.close, CloseCode.TOKEN, "the token has expired"
        )
        try:
            # Access may have been revoked since it was checked.
            self.revoke(None, channel)
            await send({"type": "http.response.start", **head.start()})
            if not head_only:
                await self._run(request, send)
        finally:
            expiry.cancel()
            services.hub.unsubscribe(self, channel)
            services.registry.discard(self)
            services.registry.release_slot(self._principal.user)
        await self._finish(send)

    def deliver(self, subscription: ChannelSubscription, messages: Sequence[bytes]) -> bool:  # noqa: ARG002
        """Queue events, unless as many bytes wait as allowed."""
        if self._queued_bytes > self._services.unsent_bytes:
            self._services.statistics.slow_clients += 1
            self._is_behind = True
            return False
        self._queue.extend(messages)
        self._queued_bytes += sum(map(len, messages))
        self._has_news.set()
        return True

    def subscribed(self, subscription: ChannelSubscription, page: Page, *, recovered: bool) -> None:  # noqa: ARG002
        """Queue the history."""
        self._queue.append(page)
        self._is_behind = page.more
        self._has_news.set()

    def reset(self, channel: str, reset: Reset) -> None:  # noqa: ARG002
        """Queue a reset, after which the state of the key is loaded again."""
        self._queue.append(reset)
        self._has_news.set()

    def notify(self, message: bytes) -> None:
        """Ignore the message: it is for clients that know the protocol."""

    def hasten_heartbeat(self, within: float) -> None:
        """Do nothing: a comment has no news."""

    def close(self, code: int, reason: str) -> None:
        """End the response."""
        if not self._ended.is_set():
            self._reason = reason
            self._services.statistics.closed[code] += 1
            self._ended.set()

    def revoke(self, user: str | None, channel: str | None) -> None:
        """End the response, if the reader has no more access to the channel."""
        if user not in (None, self._principal.user):
            return
        if channel not in (None, self._subscription.channel):
            return
        if not self._services.access.revocations.allow(self._principal, channel):
            self.close(CloseCode.FORBIDDEN, "access was revoked")

    async def _run(self, request: Request, send: Send) -> None:
        """Send until the stream or the connection ends, or the server ends the response."""
        async with asyncio.TaskGroup() as tasks:
            pumps = [
                tasks.create_task(self._wait_for_disconnect(request)),
                tasks.create_task(self._send_all(send)),
            ]
            await self._ended.wait()
            for pump in pumps:
                pump.cancel()

    async def _finish(self, send: Send) -> None:
        with suppress(*DISCONNECTED):
            # One limit for both: a reader that takes nothing would keep this task without an end.
            async with asyncio.timeout(self._services.timing.close):
                await _send_part(send, self._encoder.interrupt(self._reason or ""))
                await send({"type": "http.response.body", "body": b""})

    def _token_seconds(self) -> float:
        """Return the seconds for which the token is accepted, as on every connection."""
        seconds = self._principal.expires - time.time() + self._services.timing.session.token_skew
        return min(seconds, _LONGEST_SECONDS)

    async def _wait_for_disconnect(self, request: Request) -> None:
        try:
            await request.wait_for_disconnect()
        finally:
            self._ended.set()

    async def _send_all(self, send: Send) -> None:
        try:
            await self._follow(send)
        except TimeoutError:
            self.close(CloseCode.SLOW, "nothing was read for a while")
        except DISCONNECTED:
            pass
        except RealtimeError as error:
            self._services.status.outage.failed(error, channel=self._subscription.channel)
            self.close(CloseCode.INTERNAL, "the log cannot be read now")
        except Exception as error:
            self._services.faults.report("stream failed", error, route="stream")
            self.close(CloseCode.INTERNAL, "the server failed")
        finally:
            self._ended.set()

    async def _follow(self, send: Send) -> None:
        """Send the state of the key, and the events after it, from the hub or from the log."""
        await self._send(send, self._encoder.opening)
        # The state may have a megabyte of items: no reader keeps it while it waits for more.
        at, self._start = self._start, None
        assert at is not None
        while not self._encoder.is_over:
            if isinstance(at, Page):
                data, at = self._encode(read_group(at.events)), at.top
                await self._send(send, data)
                del data
            else:
                at = await self._send_events(send, at) or await self._load()

    async def _send_events(self, send: Send, after: Position) -> Position | None:
        """Send the events after a position; return where to read on, or None after a gap."""
        # First: an event of the old subscription would come before the history of the new one.
        self._services.hub.unsubscribe(self, self._subscription.channel)
        self._queue.clear()
        self._queued_bytes = 0
        await self._services.hub.subscribe(self, self._subscription, after)
        while not self._encoder.is_over:
            await self._wait_for_news(send)
            reached = await self._send_next(send)
            if reached is None or (self._is_behind and not self._queue):
                return reached
            after = reached
        return after

    async def _send_next(self, send: Send) -> Position | None:
        """Send the next of the queue; return the position that it reaches, or None after a gap."""
        item = self._queue.popleft()
        if isinstance(item, Reset):
            return None
        if isinstance(item, Page):
            reached, events = messages.reached(item), item.events
        else:
            self._queued_bytes -= len(item)
            fields = orjson.loads(item)
            reached = Position(fields["epoch"], fields["offset"], fields["id"])
            is_own = fields.get("key") == self._key
            events = (messages.decode_event(fields),) if is_own else ()
        await self._send(send, self._encode(self._steps(events)))
        return reached

    async def _wait_for_news(self, send: Send) -> None:
        while not self._queue:
            self._has_news.clear()
            try:
                async with asyncio.timeout(self._services.timing.session.heartbeat):
                    await self._has_news.wait()
            except TimeoutError:
                await self._send(send, COMMENT)

    def _steps(self, events: Sequence[Event]) -> list[Step]:
        return [step for event in events if event.key == self._key and (step := read_step(event))]

    def _encode(self, steps: Sequence[Step]) -> bytes:
        encoder = self._encoder
        return b"".join([encoder.encode(step) for step in steps if not encoder.is_over])

    async def _send(self, send: Send, data: bytes) -> None:
        """Send bytes; a reader that takes none of them for a while has disconnected."""
        for start in range(0, len(data), _PIECE_BYTES):
            async with asyncio.timeout(self._services.timing.session.stalled):
                await _send_part(send, data[start : start + _PIECE_BYTES])


async def _send_part(send: Send, data: bytes) -> None:
    if data:
        await send({"type": "http.response.body", "body": data, "more_body": True})
