"""Comparison of a provider's deliveries with the positions of the log."""

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from typing import Any

from realtime_bridge.backend.provider_connection import AccessDeniedError, ConnectionLostError
from realtime_bridge.client.bridge_http import OK, HTTPResult
from realtime_bridge.client.log_fetcher import fetch
from realtime_bridge.client.poller import as_messages
from realtime_bridge.client.transport import Message, TransportTools
from realtime_bridge.protocol.client.credentials import DENIAL

ELSEWHERE = 2**53 - 1
"""Offset that stands for a reset: beyond every offset, so that the log is read."""

UNAUTHORIZED, FORBIDDEN = 401, 403


class UndeliveredError(ConnectionLostError):
    """Provider that delivers nothing, though it is connected."""


class PositionChecker:
    """Finds events that the log has and the provider did not deliver.

    Args:
        tools: Parts of the client.
        channels: Channels whose events the provider delivers.
        receive: Receives the positions as a heartbeat, and `refused` for denied channels.

    """

    def __init__(
        self,
        tools: TransportTools,
        *,
        channels: Collection[str],
        receive: Callable[[Message], None],
    ) -> None:
        self._tools = tools
        self._channels = channels
        self._receive = receive
        self._has_pushed = False
        self._last_missed = float("-inf")

    def pushed(self) -> None:
        """Record that the provider delivered something."""
        self._has_pushed = True

    async def run(self) -> None:
        """Check until cancelled.

        Raises:
            UndeliveredError: two checks in a row found events that were never delivered.
            AccessDeniedError: the bridge denies this client.

        """
        interval = self._tools.timing.position_check_interval / 1_000
        while True:
            # At different times: all clients of a deployment would ask the log at once.
            await asyncio.sleep(interval * random.uniform(0.94, 1.06))  # noqa: S311
            if self._channels:
                await self._check()

    async def check_access(self) -> None:
        """Ask the bridge soon whether this client still has access.

        Raises:
            AccessDeniedError: it has none.

        """
        # At different times: a channel may have many clients.
        spread = self._tools.timing.wake_spread / 1_000
        await asyncio.sleep(random.uniform(0, spread))  # noqa: S311
        await self._fetch()

    async def _fetch(self) -> HTTPResult:
        """Request the log's positions, and report what the bridge denies."""
        result = await fetch(self._tools, list(self._channels))
        if result.status in DENIAL:
            raise AccessDeniedError(UNAUTHORIZED, f"the bridge answered {result.status}")
        for channel, fields in ((result.fields or {}).get("channels") or {}).items():
            for message in as_messages(channel, fields):
                if message["type"] == "refused" and message.get("code") == FORBIDDEN:
                    self._receive(message)
        return result

    async def _check(self) -> None:
        result = await self._fetch()
        if result.status != OK or not result.fields:
            return  # The next request for missing events reports the failure.
        fields = result.fields
        offsets = _moved(fields.get("channels") or {})
        is_silent = bool(offsets) and not self._has_pushed
        self._has_pushed = False
        generation = fields.get("generation")
        self._receive({"type": "heartbeat", "offsets": offsets, "generation": generation})
        if is_silent:
            await self._wait_for_late_events()

    async def _wait_for_late_events(self) -> None:
        timing, now = self._tools.timing, asyncio.get_running_loop().time
        await asyncio.sleep(timing.late_event_allowance / 1_000)
        if self._has_pushed:
            return
        if now() - self._last_missed < timing.missed_event_window / 1_000:
            raise UndeliveredError("the provider delivers nothing")
        self._last_missed = now()


def _moved(by_channel: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Return the channels that the log has events of, each with its offset there."""
    return {
        name: ELSEWHERE if fields.get("reset") else fields["position"]["offset"]
        for name, fields in by_channel.items()
        if fields.get("reset", "forbidden") != "forbidden" or fields.get("events")
    }
