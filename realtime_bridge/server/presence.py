"""Presence: announces the members of channels that this server's clients make present."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from math import isfinite
from typing import Any

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.log import FoldingLog, Log
from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.errors import RealtimeError
from realtime_bridge.model import ids
from realtime_bridge.model.channel import PRESENCE
from realtime_bridge.model.receipt import Lease, Renewal
from realtime_bridge.protocol.presence.member_list import PresentMember
from realtime_bridge.protocol.presence.node_members import Announcement, Member, NodeMembers
from realtime_bridge.publishing.lease_keeper import LeaseKeeper
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.http.denial import Denial
from realtime_bridge.server.timing import ServerTiming

_logger = logging.getLogger("realtime_bridge.server")


Describe = Callable[[Principal, str], Awaitable[Mapping[str, Any] | None]]
"""Returns what the application adds to a member of a channel."""


class Presence:
    """Members of channels by the connections and polls of this server.

    A client is present while it subscribes to the presence channel of another channel. When this
    server stops, its members stay until their leases run out: by then their clients have connected
    to another server, and no page shows them leave and return.

    Args:
        log: the log that keeps the members of all servers.
        describe: returns what the application adds to a member.
        tasks: owner of the tasks of a started server; without it, no user is present here.
        timing: the durations of the server.
        provider: returns the provider that keeps the members in place of the log, if one does.

    """

    def __init__(
        self,
        log: Log,
        describe: Describe,
        tasks: Supervisor | None,
        timing: ServerTiming,
        *,
        provider: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.describe: Describe = describe
        """Returns what the application adds to a member of a channel."""
        self._log = log
        self._timing = timing
        self._provider = provider
        self._members = NodeMembers(
            ids.nonce(), lease=timing.presence_lease, stay=timing.presence_stay
        )
        self._changed = asyncio.Event()
        self._leases: LeaseKeeper | None = None
        if tasks and isinstance(log, FoldingLog):
            self._leases = LeaseKeeper(
                lambda leases: backend_call(log, log.renew, leases),
                tasks,
                interval=timing.presence_renewal,
            )
        self._outage = OutageLog(
            _logger, "members are not announced", "members are announced again"
        )

    @property
    def is_served(self) -> bool:
        """True in a started server whose log keeps keys with owners: users are present here."""
        return self._leases is not None

    def denial(self, channel: str, code: int) -> Denial | None:
        """Return the denial of a presence channel whose members a provider keeps, with this code.

        Two lists of one channel would be wrong without a notice: those who are connected to this
        server would not see the others.
        """
        if not channel.startswith(PRESENCE) or not (provider := self._provider()):
            return None
        return Denial(
            code,
            f"{provider} keeps the members of channels here: connect by {provider}, or set "
            "REALTIME_BACKEND=websocket",
        )

    async def enter(self, principal: Principal, channel: str, holder: Hashable) -> None:
        """Make the user present while a connection subscribes to a presence channel.

        A server that was not started has no members.
        """
        if self._leases:
            info = await self.describe(principal, channel.removeprefix(PRESENCE))
            self.add(channel, PresentMember(principal.user, info), holder)

    def add(self, channel: str, member: PresentMember, holder: Hashable) -> None:
        """Make a member present on a presence channel until `remove` of the same holder."""
        now = time.monotonic()
        if self._members.enter(channel, member.user, holder, member.info, now=now):
            self._changed.set()

    async def poll(self, principal: Principal, channels: Iterable[str]) -> None:
        """Make the user of a poll present for a time on these presence channels."""
        for channel in channels:
            if self._leases:
                info = await self.describe(principal, channel.removeprefix(PRESENCE))
                now, user = time.monotonic(), principal.user
                until = now + self._timing.presence_poll
                client = principal.client
                if self._members.enter(channel, user, client, info, now=now, until=until):
                    self._changed.set()

    def leave(self, principal: Principal, channel: str, holder: Hashable) -> None:
        """End the presence of a connection, and of its client's earlier polls."""
        if channel.startswith(PRESENCE):
            self.remove(channel, principal.user, holder, principal.client)

    def remove(self, channel: str, user: str, *holders: Hashable) -> None:
        """End holders of a user's presence on a presence channel."""
        self._members.leave(channel, user, holders, now=time.monotonic())
        self._changed.set()

    async def run(self) -> None:
        """Announce what changes, and what is due; it never ends."""
        while True:
            due = self._members.next_due(time.monotonic())
            try:
                async with asyncio.timeout(due - time.monotonic() if isfinite(due) else None):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            await self._announce_due()

    async def _announce_due(self) -> None:
        while announcements := self._members.due(time.monotonic()):
            try:
                await self._announce(announcements)
            except RealtimeError as error:
                self._outage.failed(error, members=len(announcements))
                await asyncio.sleep(self._timing.restart)
                return
            self._outage.works()

    async def _announce(self, announcements: Sequence[Announcement]) -> None:
        await backend_call(self._log, self._log.append, [one.event for one in announcements])
        assert self._leases
        for announcement in announcements:
            member = announcement.member
            if member.lease:
                self._leases.remove(member.lease)
            self._members.settle(announcement)
            if member.lease:
                self._leases.add(member.lease, partial(self._on_renewed, member, member.lease))

    def _on_renewed(self, member: Member, lease: Lease, renewal: Renewal) -> None:
        """Announce a member again, if the log has ended or lost it."""
        if renewal.refused and self._leases:
            self._leases.remove(lease)
            self._members.lose(member)
            self._changed.set()
