"""Requests for the state of one key."""

import asyncio
import logging
import random
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from realtime_bridge.client.bridge_http import OK, BridgeHTTP, HTTPResult
from realtime_bridge.client.descriptor import (
    DescriptorStore,
    RouteMissingError,
    TokenUnavailableError,
)
from realtime_bridge.client.poller import FINAL
from realtime_bridge.client.subscription_set import DeniedError
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.protocol.backoff import delay
from realtime_bridge.protocol.wire import messages
from realtime_bridge.protocol.wire.messages import ProtocolError

FIRST_WAIT = 1.0
"""Upper bound of the wait after a first failure, in seconds."""

NO_STATES = ("no_log", "no_owners")
"""Codes of a server whose log has no states of keys: it refuses each further request too."""

_logger = logging.getLogger("realtime_bridge.client")


class KeyReader:
    """Reads the states of keys, with retries until the server answers.

    Args:
        http: HTTP session.
        descriptors: the server's URLs, and the token.

    """

    def __init__(self, http: BridgeHTTP, descriptors: DescriptorStore) -> None:
        self._http = http
        self._descriptors = descriptors

    async def read(self, channel: str, key: str) -> Page:
        """Return the events that describe a key.

        Raises:
            DeniedError: the server denies the channel.
            ConfigurationError: the server's log has no such states.

        """
        return await self._read(channel, {"channel": channel, "key": key})

    async def read_all(self, channel: str) -> Page:
        """Return the events that describe all keys, as of the first page's position.

        A key that changes meanwhile comes again, among the events after that position. Errors are
        those of `read`.
        """
        events: list[Event] = []
        first = page = await self._read(channel, {"channel": channel})
        events += page.events
        while page.more and page.events and (last := page.events[-1].position):
            page = await self._read(channel, {"channel": channel, "after": str(last.offset)})
            events += page.events
        return Page(events=tuple(events), top=first.top)

    async def _read(self, channel: str, query: Mapping[str, str]) -> Page:
        failures = 0
        while True:
            result = await self._request(query)
            if page := page_of(result, channel):
                return page
            _logger.info("key unavailable: channel=%s reason=%r", channel, result.message)
            wait = delay(failures, random.random(), base=FIRST_WAIT)  # noqa: S311 -- it spreads clients
            await asyncio.sleep(max(wait, (result.retry_after or 0) / 1_000))
            failures += 1

    async def _request(self, query: Mapping[str, str]) -> HTTPResult:
        try:
            url, token = self._descriptors.url("latest"), await self._descriptors.token()
        except TokenUnavailableError as error:
            return HTTPResult(message=str(error))
        except RouteMissingError as error:
            raise ConfigurationError(f"No state of a key: {error}") from error
        separator = "&" if "?" in url else "?"
        return await self._http.get(f"{url}{separator}{urlencode(query)}", token)


def page_of(result: HTTPResult, channel: str) -> Page | None:
    """Return the page of an answer; None where a later request may succeed."""
    if result.code in NO_STATES:
        raise ConfigurationError(str(result.message))
    # Without a code, something on the way answered.
    if result.code is not None and result.status in FINAL:
        raise DeniedError(f"{channel}: {result.message}")
    if result.status != OK:
        return None
    try:
        fields = result.fields or {}
        top, more = messages.decode_position(fields.get("position")), fields.get("more") is True
        return Page(events=_events_of(fields), top=top, more=more)
    except (ProtocolError, TypeError) as error:
        _logger.warning("unreadable state: channel=%s error=%r", channel, error)
        return None


def _events_of(fields: Mapping[str, Any]) -> tuple[Event, ...]:
    events: list[Event] = []
    for event in fields.get("events") or ():
        try:
            events.append(messages.decode_event(event))
        except (ProtocolError, TypeError) as error:
            _logger.warning("unreadable event: error=%r", error)
    return tuple(events)
