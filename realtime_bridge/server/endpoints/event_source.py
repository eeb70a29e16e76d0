"""Connection of a reader of plain Server-Sent Events, on which no session speaks."""

import asyncio
import random
import time
from contextlib import suppress

from realtime_bridge.backend.log import Log
from realtime_bridge.model.channel import PRESENCE
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.protocol.wire.plain_events import encode_retry
from realtime_bridge.protocol.wire.server_sent_events import COMMENT
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.endpoints.event_channels import EventChannels, StreamRequest
from realtime_bridge.server.endpoints.response_outbox import ResponseOutbox
from realtime_bridge.server.http.request import DISCONNECTED, Request, Send
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.registry import RegisteredClient
from realtime_bridge.server.services import ConnectionServices
from realtime_bridge.server.timer_wheel import Slot


class EventSourceConnection(RegisteredClient):
    """Open response for one reader; it has a slot of the user's connections until it ends.

    Whatever ends it, the reader connects again, with the id of its last event.

    Args:
        services: the parts of the server.
        log: the log.
        principal: the reader.
        wanted: the request.
        retry: the wait before the reader connects again, in ms.

    """

    transport = "sse"

    def __init__(
        self,
        services: ConnectionServices,
        log: Log,
        principal: Principal,
        wanted: StreamRequest,
        *,
        retry: int,
    ) -> None:
        self.slot: Slot | None = None
        """Slot of the timer in which the connection is woken."""
        self._services = services
        self._principal = principal
        self._outbox = ResponseOutbox()
        self._channels = EventChannels(services, log, wanted, self._outbox, self._mark_slow)
        self._retry = retry
        self._ended = asyncio.Event()
        session = services.timing.session
        self._expires = time.monotonic() + principal.expires - time.time() + session.token_skew
        pace = random.uniform(0.9, 1.1)  # noqa: S311 -- it spreads the comments of many streams
        self._comment_seconds = session.heartbeat * pace

    async def serve(self, head: Response, request: Request, send: Send) -> None:
        """Send the stream until either side ends it."""
        services = self._services
        services.registry.add(self)
        try:
            # The server, or access, may have changed since the request was checked.
            if services.registry.draining:
                self.close(CloseCode.SERVICE_RESTART, "the server restarts")
            for channel in self._channels:
                self.revoke(None, channel)
            # At once: a proxy or a browser that waits for the first bytes has them.
            self._outbox.add(encode_retry(self._retry))
            self._schedule()
            await send({"type": "http.response.start", **head.start()})
            await self._run(request, send)
        finally:
            self._depart()
        with suppress(*DISCONNECTED):
            async with asyncio.timeout(services.timing.close):
                await send({"type": "http.response.body", "body": b""})

    def notify(self, message: bytes) -> None:
        """Ignore the message: it is for clients that know the protocol."""

    def hasten_heartbeat(self, within: float) -> None:
        """Do nothing: a comment has no news."""

    def close(self, code: int, reason: str) -> None:
        """End the stream."""
        if not self._ended.is_set():
            self._services.statistics.closed[code] += 1
            self._services.rejections.report_close(code, reason)
            self._ended.set()

    def revoke(self, user: str | None, channel: str | None) -> None:
        """End the stream, if the reader has no more access to one of its channels."""
        if user not in (None, self._principal.user):
            return
        if channel is not None and not {channel, PRESENCE + channel}.intersection(self._channels):
            return
        if not self._services.access.revocations.allow(self._principal, channel):
            self.close(CloseCode.FORBIDDEN, "access was revoked")

    def wake(self) -> None:
        """End the stream of an expired token, or keep a quiet connection open."""
        if time.monotonic() >= self._expires:
            self.close(CloseCode.TOKEN, "the token has expired")
            return
        if not self._outbox.unsent_bytes:
            self._outbox.add(COMMENT)
        self._schedule()

    def _schedule(self) -> None:
        moment = min(time.monotonic() + self._comment_seconds, self._expires)
        self._services.timers.wake_at(moment, self)

    def _mark_slow(self) -> None:
        self._services.statistics.slow_clients += 1
        self.close(CloseCode.SLOW, "the reader is too slow")

    def _depart(self) -> None:
        """Remove the connection from all parts of the server."""
        self._channels.leave()
        self._services.timers.cancel(self)
        self._services.registry.discard(self)
        self._services.registry.release_slot(self._principal.user)

    async def _run(self, request: Request, send: Send) -> None:
        async with asyncio.TaskGroup() as tasks:
            pumps = [
                tasks.create_task(self._wait_for_disconnect(request)),
                tasks.create_task(self._send_all(send)),
                tasks.create_task(self._open_channels()),
            ]
            await self._ended.wait()
            for pump in pumps:
                pump.cancel()

    async def _wait_for_disconnect(self, request: Request) -> None:
        try:
            await request.wait_for_disconnect()
        finally:
            self._ended.set()

    async def _send_all(self, send: Send) -> None:
        try:
            await self._outbox.send_all(send, stalled=self._services.timing.session.stalled)
        except TimeoutError:
            self._mark_slow()
        except DISCONNECTED:
            self._ended.set()

    async def _open_channels(self) -> None:
        try:
            await self._channels.open_all()
        except Exception as error:
            self._services.faults.report("stream failed", error, route="sse")
            self.close(CloseCode.INTERNAL, "the server failed")
