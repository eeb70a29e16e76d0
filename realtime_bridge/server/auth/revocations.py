"""Whose access was taken back, and when: every node hears of it through the log."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.reset import Reset
from realtime_bridge.server.auth.tokens import SKEW_SECONDS, TOKEN_SECONDS, Principal
from realtime_bridge.server.fanout.channel_fanout import Subscriber

if TYPE_CHECKING:
    from realtime_bridge.server.context import ServerContext

CONTROL = "@realtime"
"""The channel on which servers talk to each other; no client may listen to it."""

EVENT = "revoked"
AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A user loses all access, a channel all its listeners, or one user one channel."""

    user: str | None
    channel: str | None

    def event(self) -> Event:
        """Return it as the event that tells all nodes; the log keeps the latest of each."""
        data = {"user": self.user, "channel": self.channel}
        key = hashlib.sha256(repr(self).encode()).hexdigest()
        return Event(channel=CONTROL, event=EVENT, data=data, key=key)


class Revocations(Subscriber):
    """Remembers what was revoked for as long as tokens from before may be shown.

    Args:
        engine: whose clients lose what is revoked.

    """

    def __init__(self, engine: "ServerContext") -> None:
        self._engine = engine
        self._since: dict[Revocation, float] = {}

    async def run(self) -> None:
        """Learn what was revoked before this node started, and hear what is from now on."""
        while True:
            try:
                await self._engine.hub.subscribe(self, CONTROL, None)
                await self.learn()
            except RealtimeError:
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    def allow(self, principal: Principal, channel: str | None = None) -> bool:
        """Tell whether what this principal shows is younger than what was revoked of it."""
        if not self._since:
            return True
        for revocation in (
            Revocation(user=principal.user, channel=None),
            Revocation(user=None, channel=channel),
            Revocation(user=principal.user, channel=channel),
        ):
            if self._since.get(revocation, 0.0) >= principal.issued:
                return False
        return True

    def deliver(self, channel: str, frames: Sequence[bytes]) -> bool:  # noqa: ARG002
        """Take back what was just revoked."""
        for frame in frames:
            event = orjson.loads(frame)
            self._note(event["data"], event["time"] / 1_000)
        return True

    def subscribed(self, channel: str, page: Page, *, recovered: bool) -> None:
        """Go on: what is older is learnt from the log."""

    def reset(self, channel: str, reset: Reset) -> None:
        """Go on: what is remembered here stays revoked."""

    async def learn(self) -> None:
        """Read what was revoked so far."""
        after, more = 0, True
        while more:
            page = await self._engine.log.latest(CONTROL, after=after)
            for event in page.events:
                assert event.position
                assert event.time is not None
                after = event.position.offset
                self._note(event.data, event.time / 1_000)
            more = page.more

    def _note(self, data: dict[str, Any], at: float) -> None:
        revocation = Revocation(user=data["user"], channel=data["channel"])
        self._forget(at - TOKEN_SECONDS - 2 * SKEW_SECONDS)
        self._since[revocation] = max(at, self._since.get(revocation, 0.0))
        self._engine.clients.revoke(revocation.user, revocation.channel)

    def _forget(self, before: float) -> None:
        for revocation, at in list(self._since.items()):
            if at < before:
                del self._since[revocation]
