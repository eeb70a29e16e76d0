"""Revocations of access, announced to all servers through the log."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.log import Log
from realtime_bridge.model.event import Event
from realtime_bridge.server.auth.tokens import SKEW_SECONDS, TOKEN_SECONDS, Principal

CONTROL = "@realtime"
"""Channel on which servers announce revocations; clients cannot subscribe to it."""

EVENT = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """Revocation of a user's access, of a channel, or of one user's access to one channel."""

    user: str | None
    channel: str | None

    def event(self) -> Event:
        """Return the event that announces it; the log keeps the latest of each key."""
        data = {"user": self.user, "channel": self.channel}
        key = hashlib.sha256(repr(self).encode()).hexdigest()
        return Event(channel=CONTROL, event=EVENT, data=data, key=key)


class RevocationReceipt(Struct, frozen=True, kw_only=True):
    """Result of a revocation.

    Args:
        remaining: sentences about access that goes on elsewhere; empty if all of it has ended.

    """

    remaining: tuple[str, ...] = ()


def control_channel(user: str) -> str:
    """Return the channel that announces revocations to a user's clients at a provider."""
    return f"{CONTROL}.user.{hashlib.sha256(user.encode()).hexdigest()[:32]}"


class Revocations(dict[Revocation, float]):
    """Moments of the revocations, in seconds since the Unix epoch.

    Each is kept as long as a token issued before it can be presented.
    """

    def allow(self, principal: Principal, channel: str | None = None) -> bool:
        """Return whether the principal's token was issued after all revocations that concern it."""
        for revocation in (
            Revocation(user=principal.user, channel=None),
            Revocation(user=None, channel=channel),
            Revocation(user=principal.user, channel=channel),
        ):
            if self.get(revocation, 0.0) >= principal.issued:
                return False
        return True

    def add_event(self, data: dict[str, Any], time_ms: int) -> Revocation:
        """Store the revocation of an event, and return it."""
        moment = time_ms / 1_000
        revocation = Revocation(user=data["user"], channel=data["channel"])
        self._expire(moment - TOKEN_SECONDS - 2 * SKEW_SECONDS)
        self[revocation] = max(moment, self.get(revocation, 0.0))
        return revocation

    async def read(self, log: Log) -> Iterable[Revocation]:
        """Store the revocations that the log has, and return them.

        Raises:
            PublishError: the log cannot be read.

        """
        revocations: list[Revocation] = []
        after, more = 0, True
        while more:
            page = await backend_call(log, log.latest, CONTROL, after=after)
            for event in page.events:
                assert event.position
                assert event.time is not None
                after = event.position.offset
                revocations.append(self.add_event(event.data, event.time))
            more = page.more
        return revocations

    def _expire(self, before: float) -> None:
        for revocation, moment in list(self.items()):
            if moment < before:
                del self[revocation]
