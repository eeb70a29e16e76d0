"""Subscriptions of Pusher's clients by channel, over all servers."""

import asyncio
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from realtime_bridge.backend.log import Log
from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.model import ids
from realtime_bridge.model.channel import CONTROL
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.presence.member_list import MemberList, PresentMember
from realtime_bridge.server.pusher.rooms import now_ms
from realtime_bridge.server.services import ConnectionServices
from realtime_bridge.server.state_follower import StateFollower
from realtime_bridge.server.timer_wheel import Slot

COUNTS = f"{CONTROL}.pusher.counts"
"""Channel on which servers announce their counts."""

PARTS = 32
"""Parts of a server's counts: one that changes is announced as a whole, so parts are small."""

PART_NAMES = 1_500
"""Announced names of a part: an event has a limit. Further names count on their own server."""

INTERVAL = 1.0
"""Seconds between two announcements of a server."""


class _Announcements(StateFollower):
    """Counts that all servers have announced, by the part of a server."""

    def __init__(self, log: Log, services: ConnectionServices) -> None:
        super().__init__(COUNTS, log, services)
        self._parts = MemberList()

    def load(self, events: Sequence[Event]) -> None:
        self._parts.load(events, now_ms())

    def handle(self, event: Event) -> None:
        self._parts.handle(event, now_ms())

    def of_others(self, node: str) -> Iterable[tuple[str, int]]:
        """Return the names and counts of the other servers."""
        self._parts.tick(now_ms())
        for part, member in self._parts.by_user.items():
            if part.rpartition(".")[0] != node:
                yield from (member.info or {}).items()


class ChannelCounts:
    """Number of subscriptions by Pusher's name of a channel.

    Each server announces its own counts as it announces members: under keys with leases, which
    end with the server.

    Args:
        log: the log that all servers share.
        services: the parts of the server.

    """

    def __init__(self, log: Log, services: ConnectionServices) -> None:
        self.slot: Slot | None = None
        self._node = ids.nonce()
        self._services = services
        self._announcements = _Announcements(log, services)
        self._own: Counter[str] = Counter()
        self._by_part: defaultdict[int, dict[str, int]] = defaultdict(dict)
        self._changed: set[int] = set()
        self._next = 0.0
        """Moment from which counts are announced again."""

    @property
    def is_shared(self) -> bool:
        """True while the counts are those of all servers: the log keeps keys with owners."""
        return self._services.presence.is_served

    def change(self, name: str, change: int) -> None:
        """Count subscriptions of this server more or less."""
        self._own[name] += change
        part = zlib.crc32(name.encode()) % PARTS
        if self._own[name]:
            self._by_part[part][name] = self._own[name]
        else:
            del self._own[name], self._by_part[part][name]
        if self.is_shared:
            self._changed.add(part)
            if self.slot is None:
                self._services.timers.wake_at(max(self._next, time.monotonic()), self)

    def wake(self) -> None:
        """Announce the parts that have changed."""
        for part in self._changed:
            info: dict[str, Any] = dict(islice(self._by_part[part].items(), PART_NAMES))
            member = PresentMember(f"{self._node}.{part}", info)
            self._services.presence.add(COUNTS, member, self)
        self._changed.clear()
        self._next = time.monotonic() + INTERVAL

    async def read(self) -> Counter[str]:
        """Return the counts of all servers: those of others are up to a second old.

        Raises:
            BackendUnavailableError: the log does not answer.

        """
        counts = Counter(self._own)
        if self.is_shared:
            try:
                async with asyncio.timeout(self._services.timing.start):
                    await self._announcements.wait_loaded()
            except TimeoutError:
                raise BackendUnavailableError("The log does not answer: ask again later") from None
            for name, count in self._announcements.of_others(self._node):
                counts[name] += count
        return counts
