"""Revocations of access, announced to all servers through the log."""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import orjson
from msgspec import Struct

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.log import Log
from realtime_bridge.errors import ConfigurationError, InvalidIdentityError
from realtime_bridge.model.channel import CONTROL, check_channel
from realtime_bridge.model.event import Event
from realtime_bridge.model.user import UserId, user_text
from realtime_bridge.protocol.publishing.latest_keys import MAX_KEYS
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.auth.tokens import SKEW_SECONDS

EVENT = "revoked"

KEPT_SECONDS = 7 * 86_400
"""Time for which a revocation applies: the logs keep the latest event of a key as long."""

_logger = logging.getLogger("realtime_bridge.server")


UNTIL_RESTART = (
    "The log is in this server's memory: after a restart, tokens from before the revocation are "
    "accepted until they expire (10 minutes). Set REALTIME_LOG=redis or postgres to prevent this."
)
"""Limit of a revocation that only this process knows."""


class RevocationReceipt(Struct, frozen=True, kw_only=True):
    """Result of a revocation.

    Args:
        remaining: the access that goes on in spite of the revocation, and for how long: one
            sentence each. Empty where all access ends.

    """

    remaining: tuple[str, ...] = ()

    @classmethod
    def for_log(cls, *remaining: str, is_in_memory: bool) -> Self:
        """Return the result of a revocation that a log keeps, or the memory of one server."""
        return cls(remaining=(*remaining, UNTIL_RESTART) if is_in_memory else remaining)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """Revocation of a user's access, of a channel, or of one user's access to one channel."""

    user: str | None
    channel: str | None

    @classmethod
    def create(cls, user: UserId | None, channel: str | None) -> Self:
        """Return the revocation of what an application names.

        Raises:
            ConfigurationError: neither is given.
            InvalidIdentityError: the user's id is empty or not valid.
            InvalidEventError: the channel's name is not valid.

        """
        if user is None and channel is None:
            raise ConfigurationError("Nothing to revoke: give a user, a channel, or both")
        text = user_text(user.user if isinstance(user, Principal) else user)
        if user is not None and text is None:
            # Without the user, a channel would be revoked for all users.
            raise InvalidIdentityError(f"No user has the id {user!r}: give the id of a user")
        return cls(user=text, channel=None if channel is None else check_channel(channel))

    @classmethod
    def from_data(cls, data: Any) -> Self:
        """Return the revocation that the data of an event announces.

        Raises:
            ValueError: another program wrote the event.

        """
        fields = data if isinstance(data, dict) else {}
        user, channel = fields.get("user"), fields.get("channel")
        if not (user or channel) or not all(isinstance(one, str | None) for one in (user, channel)):
            raise ValueError("it names no user and no channel by texts")
        return cls(user=user, channel=channel)

    def event(self) -> Event:
        """Return the event that announces it; the log keeps the latest of each key."""
        data = orjson.dumps({"user": self.user, "channel": self.channel})
        key = hashlib.sha256(repr(self).encode()).hexdigest()
        return Event.internal(CONTROL, EVENT, data, key=key)


def control_channel(user: str) -> str:
    """Return the channel that announces revocations to a user's clients at a provider."""
    return f"{CONTROL}.user.{hashlib.sha256(user.encode()).hexdigest()[:32]}"


class Revocations(dict[Revocation, float]):
    """Moments of the revocations, in seconds since the Unix epoch by the clock of the log.

    Each is kept as long as the log keeps it.
    """

    latest: float = 0.0
    """The latest moment: a token issued now is newer than each revocation until then."""

    first: float = float("-inf")
    """The earliest moment that is known, where the log may have dropped earlier revocations."""

    def allow(self, principal: Principal, channel: str | None = None) -> bool:
        """Return whether the principal is newer than all revocations that concern it."""
        if not self:
            return True
        moments = (
            self.first,
            self.get(Revocation(user=principal.user, channel=None)),
            self.get(Revocation(user=None, channel=channel)),
            self.get(Revocation(user=principal.user, channel=channel)),
        )
        return not any(moment is not None and _applies(moment, principal) for moment in moments)

    def add_event(self, data: Any, time_ms: int | None) -> Revocation | None:
        """Store the revocation of an event, and return it; None if another program wrote it."""
        try:
            revocation = Revocation.from_data(data)
        except ValueError as error:
            # The access of all other users must not depend on it.
            _logger.warning("malformed revocation ignored: error=%r", str(error))
            return None
        moment = (time_ms or 0) / 1_000
        self._expire(moment - KEPT_SECONDS)
        # Removed first: a dictionary keeps the place of a key, and the oldest entry has to lead.
        self[revocation] = max(moment, self.pop(revocation, 0.0))
        self.latest = max(moment, self.latest)
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
                after = event.position.offset
                if revocation := self.add_event(event.data, event.time):
                    revocations.append(revocation)
            more = page.more
        if len(revocations) >= MAX_KEYS:
            # The log has room for so many: tokens from before the first one are suspect.
            self.first = min(self[revocation] for revocation in revocations)
        return revocations

    def _expire(self, before: float) -> None:
        while self and next(iter(self.values())) < before:
            del self[next(iter(self))]


def _applies(moment: float, principal: Principal) -> bool:
    """Return whether a revocation at a moment is later than the principal."""
    if principal.known_revocation is not None:
        # Both moments are of the log's clock: those of the servers do not matter.
        return moment > principal.known_revocation
    # Issued without a log, by a clock that may be ahead of the log's.
    return principal.issued <= moment + SKEW_SECONDS
