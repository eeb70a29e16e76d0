"""Polling by position; any server can answer, as no state is kept between requests."""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.wire import messages
from realtime_bridge.server.auth.tokens import Principal
from realtime_bridge.server.context import ServerContext, logger
from realtime_bridge.server.endpoints.requested_positions import (
    Positions,
    read_channel,
    read_positions,
)
from realtime_bridge.server.fanout.channel_fanout import Subscriber
from realtime_bridge.server.http.request import HTTPError, Request
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.lifecycle.null_log import NOWHERE
from realtime_bridge.server.registry import Client

MAX_WAIT = 20.0
"""Longest wait of a long poll, in s; Heroku's router, for one, ends a request after 30 s."""

CACHE_SECONDS = 0.25
"""Time for which a result of the log answers other polls at the same position, in s."""

MAX_CACHED = 10_000
"""Largest number of cached results."""

_Key = tuple[str, Position | None, str | None]
_Entry = tuple[float, Page | Reset | None]
_NOTHING: _Entry = (0.0, None)

_OFFSET = re.compile(r"[0-9]{1,16}")


class Polls:
    """Handler of polls; one read of the log answers all clients at the same position."""

    def __init__(self, engine: ServerContext) -> None:
        self._engine = engine
        self._cached: dict[_Key, _Entry] = {}

    async def poll(self, request: Request) -> Response:
        """Answer `POST poll`."""
        body = await request.json()
        principal = await self._engine.identify(request)
        positions = read_positions(body, self._engine.settings.limit_channels_per_connection)
        refused = await self._refused(principal, positions)
        granted = {name: after for name, after in positions.items() if name not in refused}
        wait = 0.0 if self._engine.clients.draining or self._engine.alone else _wait(body)
        answers = await self._answers(granted, wait)
        if wait:
            refused |= await self._refused(principal, granted)
        channels = {name: _describe(answer) for name, answer in answers.items()} | refused
        return Response.json(
            {
                "channels": channels,
                "next_ms": None,
                "generation": self._engine.generation,
                "status": self._engine.status,
            }
        )

    async def latest(self, request: Request) -> Response:
        """Answer `GET latest?channel=` with the latest event of each key, and the position."""
        principal = await self._engine.identify(request)
        channel = read_channel(request.query_params.get("channel", ""))
        after = request.query_params.get("after", "0")
        if not _OFFSET.fullmatch(after):
            raise HTTPError(
                400, "bad_position", f"after={after[:40]!r} is no offset: send a page's last offset"
            )
        await self._require(principal, channel)
        if not self._engine.logged:
            raise HTTPError(404, "no_log", "This server stores no events: set REALTIME_LOG")
        page = await self._engine.log.latest(channel, after=int(after))
        return Response.json(
            {
                "channel": channel,
                "events": messages.encode_events(page.events),
                "position": page.top.to_json(),
                "more": page.more,
            }
        )

    async def _require(self, principal: Principal, channel: str) -> None:
        refused = await self._refused(principal, {channel: None})
        if "error" in refused.get(channel, {}):
            raise HTTPError(500, "rule_failed", f"The rule of {channel} failed: try again")
        if refused:
            raise HTTPError(
                403, "forbidden", f"{principal.user} may not subscribe to {channel}: check its rule"
            )

    async def _refused(
        self, principal: Principal, channels: Mapping[str, Any]
    ) -> dict[str, dict[str, Any]]:
        """Return the denied channels, each with its part of the response."""
        refused: dict[str, dict[str, Any]] = {}
        for channel in channels:
            try:
                if not await self._engine.allow(principal, channel):
                    refused[channel] = {"reset": "forbidden", "position": None}
            except Exception:
                # The application's failure is no denial: the client keeps the channel and retries.
                logger.exception("channel rule failed: channel=%s", channel)
                message = "the channel's rule failed: try again"
                refused[channel] = {"error": {"code": 500, "message": message}}
        return refused

    async def _answers(self, positions: Positions, wait: float) -> dict[str, Page | Reset]:
        if not wait:
            return await self._read_all(positions)
        waiter = _Waiter()
        self._engine.clients.add(waiter)
        try:
            # Subscribed before the first read: an event between the two must end the wait.
            for channel in positions:
                await self._engine.hub.subscribe(waiter, channel, None)
            answers = await self._read_all(positions)
            if any(_moved(answer) for answer in answers.values()):
                return answers
            await waiter.moved(wait)
            return await self._read_all(positions)
        finally:
            self._engine.clients.discard(waiter)
            for channel in positions:
                self._engine.hub.unsubscribe(waiter, channel)

    async def _read_all(self, positions: Positions) -> dict[str, Page | Reset]:
        return {channel: await self._read(channel, at) for channel, at in positions.items()}

    async def _read(self, channel: str, after: Position | None) -> Page | Reset:
        now = time.monotonic()
        self._forget(now)
        key = channel, after, after.id if after else None
        expires, answer = self._cached.get(key, _NOTHING)
        if answer and now < expires and self._still_true(channel, answer):
            return answer
        answer = await self._ask(channel, after)
        self._cached.pop(key, None)
        self._cached[key] = now + CACHE_SECONDS, answer
        return answer

    def _forget(self, now: float) -> None:
        """Remove expired results; insertion order makes them the first."""
        while self._cached:
            oldest = next(iter(self._cached))
            if now < self._cached[oldest][0] and len(self._cached) < MAX_CACHED:
                return
            del self._cached[oldest]

    def _still_true(self, channel: str, answer: Page | Reset) -> bool:
        """Return whether this process fanned out no later event of the channel."""
        # A client that received a later event by push must not get an older position by poll.
        return self._engine.hub.top(channel) in (None, answer.top.offset)

    async def _ask(self, channel: str, after: Position | None) -> Page | Reset:
        if after is not None or not self._engine.logged:
            return await self._engine.log.read(channel, after or NOWHERE)
        tops = await self._engine.log.positions([channel])
        return Page(events=(), top=tops[channel])


class _Waiter(Subscriber, Client):
    """Subscriber that ends a long poll's wait on any event, reset, status or close."""

    def __init__(self) -> None:
        self._something = asyncio.Event()

    def deliver(self, channel: str, frames: Sequence[bytes]) -> bool:  # noqa: ARG002
        self._something.set()
        return True

    def subscribed(self, channel: str, page: Page, *, recovered: bool) -> None:
        pass

    def reset(self, channel: str, reset: Reset) -> None:  # noqa: ARG002
        self._something.set()

    def tell(self, frame: bytes) -> None:  # noqa: ARG002
        self._something.set()

    def dismiss(self, code: int, reason: str) -> None:  # noqa: ARG002
        self._something.set()

    def revoke(self, user: str | None, channel: str | None) -> None:  # noqa: ARG002
        self._something.set()

    async def moved(self, wait: float) -> None:
        try:
            async with asyncio.timeout(wait):
                await self._something.wait()
        except TimeoutError:
            return


def _moved(answer: Page | Reset) -> bool:
    return isinstance(answer, Reset) or bool(answer.events)


def _describe(answer: Page | Reset) -> dict[str, Any]:
    if isinstance(answer, Reset):
        position = None if answer.reason == "signal" else answer.top.to_json()
        return {"reset": answer.reason, "position": position}
    return {
        "events": messages.encode_events(answer.events),
        "position": messages.reached(answer).to_json(),
        "more": answer.more,
    }


def _wait(body: Mapping[str, Any]) -> float:
    wait = body.get("wait") or 0
    if not isinstance(wait, int | float) or not 0 <= wait <= MAX_WAIT:
        raise HTTPError(
            400, "bad_wait", f"wait is not valid: send a number of seconds from 0 to {MAX_WAIT:g}"
        )
    return float(wait)
