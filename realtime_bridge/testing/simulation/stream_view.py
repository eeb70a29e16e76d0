"""Streams on one page: loaded through the real server, and followed by the client's events."""

import asyncio
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson

from realtime_bridge.client.bridge_http import OK, TOKEN_HEADER
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page as LogPage
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.streams.snapshot import stream_key
from realtime_bridge.protocol.wire.messages import decode_event
from realtime_bridge.testing.simulation.deployment import URL, Deployment
from realtime_bridge.testing.simulation.log_store import FullPosition, full_position
from realtime_bridge.testing.simulation.stream_board import StreamBoard

REQUEST_SECONDS = 10.0
RETRY_SECONDS = 1.0


class StreamView:
    """Board of streams of one process, and the requests that fill it.

    Args:
        page: the client.
        simulation: the deployment.

    """

    board_class: type[StreamBoard] = StreamBoard

    def __init__(self, page: Any, simulation: Deployment) -> None:
        self.board: StreamBoard = self.board_class()
        self._page = page
        self._simulation = simulation
        self.load_began_at: dict[str, float] = {}
        """Moment at which the last load of each channel began."""
        self.merged: set[str] = set()
        """Channels on which a rollback was hidden from the client, since their last load."""
        self._loads: dict[str, int] = {}
        self._loaded: dict[tuple[str, str], FullPosition] = {}
        """Position of each group that was loaded."""

    def event(self, event: Event) -> None:
        """Show an event of a stream."""
        assert event.key
        was_trimmed = self.board.is_trimmed(event.channel, event.key)
        self.board.event(event)
        if self.board.is_trimmed(event.channel, event.key) and not was_trimmed:
            self.load(event.channel)
        self._check_shown(event.channel, event.key)

    def load(self, channel: str) -> None:
        """Load all streams of a channel: what is shown may lack events."""
        number = self._loads[channel] = self._loads.get(channel, 0) + 1
        self.load_began_at[channel] = self._simulation.loop.now
        self.merged.discard(channel)
        for key in self._keys(channel):
            self.board.expect_group(channel, key)
            self._simulation.loop.spawn(self._page.process, self._load(channel, key, number))

    def has_lost_group(self, channel: str, key: str) -> bool:
        """Return whether the log has lost what a page loaded, and the client did not notice."""
        is_lost = self._loaded.get((channel, key)) in self._simulation.store.rolled_back
        return is_lost or channel in self.merged

    async def _load(self, channel: str, key: str, number: int) -> None:
        while self._loads[channel] == number and self.board.is_loading(channel, key):
            page = await self._request(channel, key)
            if self._loads[channel] != number:
                return  # a later load makes this one obsolete
            if page and self._includes(page, self._page.positions.get(channel)):
                self.board.group(channel, key, page)
                self._loaded[channel, key] = full_position(page.top)
                self._check_shown(channel, key)
            else:
                await asyncio.sleep(RETRY_SECONDS)

    def _includes(self, page: LogPage, position: Position | None) -> bool:
        """Return whether a group has all events that the client has handled.

        Otherwise the log has lost some of them: a reset follows, which loads the group again.
        """
        top = page.top
        return position is None or (top.epoch == position.epoch and top.offset >= position.offset)

    async def _request(self, channel: str, key: str) -> LogPage | None:
        """Return the group of a key; None where the answer is not the server's."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        session = self._page.network.parts.open_session(timeout=timeout, trust_env=False)
        headers = {TOKEN_HEADER: await self._page.token()}
        url = f"{URL}/latest?{urlencode({'channel': channel, 'key': key})}"
        try:
            async with session.get(url, headers=headers) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        if response.status != OK or not body.startswith(b"{"):
            return None
        fields = orjson.loads(body)
        events = tuple(map(decode_event, fields["events"]))
        return LogPage(events=events, top=Position.from_json(fields["position"]))

    def _check_shown(self, channel: str, key: str) -> None:
        snapshot, as_of = self.board.shown(channel, key)
        if as_of is not None and not self.has_lost_group(channel, key):
            self._check(key, snapshot, as_of)

    def _keys(self, channel: str) -> list[str]:
        return [stream_key(stream) for stream in self._simulation.streams_of(channel)]

    def _check(self, key: str, snapshot: Any, as_of: Position) -> None:
        checker = self._simulation.checker.streams
        checker.check_shown(self._page.name, key, snapshot, full_position(as_of))
