"""Requests to the log by HTTP, whose results become messages of a connection."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

from realtime_bridge.client.bridge_http import OK, HTTPResult
from realtime_bridge.client.poller import as_messages, chunked, request
from realtime_bridge.client.transport import Message, TransportTools


async def fetch(tools: TransportTools, channels: Collection[str]) -> HTTPResult:
    """Request the events after the positions of channels; a hanging request is a failed one.

    Raises:
        TokenUnavailableError: the application has no token now.
        RouteMissingError: the server does not offer polls.

    """
    answers: dict[str, Any] = {}
    fields: Mapping[str, Any] = {}
    try:
        async with asyncio.timeout(tools.timing.fetch_timeout / 1_000):
            for names in chunked(channels, tools.descriptors.channel_limit):
                _, result = await request(tools, names)
                if result.status != OK:
                    return result
                fields = result.fields or {}
                answers |= fields.get("channels") or {}
    except TimeoutError:
        return HTTPResult()
    return HTTPResult(OK, {**fields, "channels": answers})


class LogFetcher:
    """Requests to the log for several channels at once.

    Args:
        tools: Parts of the client.
        receive: Receives the messages.
        failed: Called with the channels and the HTTP status (None: no response) of a failure.

    """

    def __init__(
        self,
        tools: TransportTools,
        *,
        receive: Callable[[Message], None],
        failed: Callable[[Collection[str], int | None], None],
    ) -> None:
        self._tools = tools
        self._receive = receive
        self._failed = failed
        self._wanted: dict[str, None] = {}
        self._has_wanted = asyncio.Event()

    def request(self, channel: str) -> None:
        """Request the events after our position; `subscribed`, `reset` or `refused` answers."""
        self._wanted[channel] = None
        self._has_wanted.set()

    async def run(self) -> None:
        """Send requests until cancelled: one at a time, each for all channels that wait."""
        while True:
            await self._has_wanted.wait()
            await asyncio.sleep(self._tools.timing.fetch_batch_delay / 1_000)
            channels, self._wanted = list(self._wanted), {}
            self._has_wanted.clear()
            result = await fetch(self._tools, channels)
            if result.status == OK and result.fields:
                self._on_answer(channels, result.fields)
            else:
                self._failed(channels, result.status)

    def _on_answer(self, channels: Collection[str], fields: Mapping[str, Any]) -> None:
        by_channel = fields.get("channels") or {}
        for channel in channels:
            for message in as_messages(channel, by_channel.get(channel) or {}):
                self._receive(message)
        generation = fields.get("generation")
        self._receive({"type": "heartbeat", "offsets": {}, "generation": generation})
