"""Channels that clients watch, at all servers that share a log."""

import asyncio
import hashlib
import logging
import time

import orjson

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.errors import RealtimeError
from realtime_bridge.model import ids
from realtime_bridge.model.channel import CONTROL, is_internal
from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import MIN_LEASE, KeyWrite, Will
from realtime_bridge.model.receipt import Lease
from realtime_bridge.protocol.outlets.timing import OutletTiming
from realtime_bridge.server.fanout.hub import Hub

CHANNEL = f"{CONTROL}.watched"

DIGEST_BYTES = 6
"""Bytes of a channel's hash: the names of 80 000 channels would not fit into one event. Two
channels of a million share one with a probability of 0.2 %; such a channel counts as watched."""

_logger = logging.getLogger("realtime_bridge.outlets")


class WatchAnnouncer:
    """Announcer of the channels that clients of this server watch: one key in the log.

    The key has a lease, so the log ends it after the end of the server.

    Args:
        hub: the channels with subscribers, and those of polls.
        log: the log.
        timing: durations.

    """

    def __init__(self, hub: Hub, log: FoldingLog, timing: OutletTiming) -> None:
        self._hub = hub
        self._log = log
        self._timing = timing
        self._node = ids.nonce()
        self._announced: list[str] | None = None
        self._outage = OutageLog(
            _logger, "watched channels are not announced", "watched channels are announced"
        )

    async def run(self) -> None:
        """Announce what changes; it never ends."""
        self._hub.polled = {}
        try:
            while True:
                try:
                    await self.announce()
                except RealtimeError as error:
                    self._announced = None
                    self._outage.failed(error)
                else:
                    self._outage.works()
                await asyncio.sleep(self._timing.watch_seconds)
        finally:
            self._hub.polled = None

    async def announce(self) -> None:
        """Announce the channels, or restart the lease if they are the same.

        Raises:
            PublishError: the log is unavailable.

        """
        digests = sorted(map(digest, self._watched()))
        if digests == self._announced:
            lease = Lease(CHANNEL, self._node, self._node)
            (renewal,) = await backend_call(self._log, self._log.renew, [lease])
            if renewal.refused is None:
                return
        write = KeyWrite(None, self._node, "always", MIN_LEASE, Will("watch.lost", b"null"))
        body = orjson.dumps(digests)
        event = Event.internal(CHANNEL, "watch.channels", body, key=self._node, write=write)
        await backend_call(self._log, self._log.append, [event])
        self._announced = digests

    def _watched(self) -> set[str]:
        """Return the channels with subscribers, and those that a poll has read lately."""
        polled, since = self._hub.polled or {}, time.monotonic() - self._timing.poll_seconds
        for channel in [name for name, at in polled.items() if at < since]:
            del polled[channel]
        used = {name for name, fanout in self._hub.fanouts.items() if fanout.in_use}
        return {name for name in used | polled.keys() if not is_internal(name)}


async def watched_digests(log: FoldingLog) -> frozenset[str]:
    """Return the digests of the channels that clients of any server watch.

    Raises:
        PublishError: the log is unavailable.

    """
    digests: dict[str, list[str]] = {}
    after, more = 0, True
    while more:
        page = await backend_call(log, log.latest, CHANNEL, after=after)
        for event in page.events:
            # After the base of a server that was killed comes its lapse.
            digests[str(event.key)] = [] if event.fold == "lapse" else event.data
        more = page.more
        after = max((event.position.offset for event in page.events if event.position), default=0)
    return frozenset(one for group in digests.values() for one in group)


def digest(channel: str) -> str:
    """Return the name of a channel in an announcement."""
    return hashlib.sha256(channel.encode()).hexdigest()[: 2 * DIGEST_BYTES]
