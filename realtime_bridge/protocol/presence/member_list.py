"""Members of one channel, as readers see them: folded from events, each user once."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any, Literal

from msgspec import Struct

from realtime_bridge.model.event import Event

MAX_MEMBERS = 100
"""Members in the list; beyond them a reader has their number alone."""

STAY = 2_000
"""Time for which a user who left stays in the list, in milliseconds: a page may reload."""


class PresentMember(Struct, frozen=True):
    """User who is present on a channel.

    Args:
        user: the user's id.
        info: what the application adds to the id; None if it adds nothing.

    """

    user: str
    info: Mapping[str, Any] | None = None


class PresenceChange(Struct, frozen=True):
    """User who joined or left, once however many pages the user has.

    Args:
        kind: `joined` or `left`.
        member: the user.

    """

    kind: Literal["joined", "left"]
    member: PresentMember


class MemberList:
    """Members of one channel; moments are in milliseconds.

    The keys of the presence channel belong to servers: a user on two servers has two keys. A user
    whose last key ended leaves after a moment, unless another key comes. The members of the first
    snapshot have not joined: they were there.
    """

    def __init__(self) -> None:
        self._present: dict[str, PresentMember] = {}
        """Members by key, in the order of their last events."""
        self._shown: dict[str, PresentMember] = {}
        """Members by user, in the order in which they joined."""
        self._leaving: dict[str, int] = {}
        """Moment at which a user who has no key is removed."""
        self._is_loaded = False

    @property
    def members(self) -> Sequence[PresentMember]:
        """The members that joined first, 100 at most."""
        return list(self._shown.values())[:MAX_MEMBERS]

    @property
    def count(self) -> int:
        """Number of all members."""
        return len(self._shown)

    @property
    def next_change(self) -> float:
        """Moment of the next departure; infinite if none is known."""
        return min(self._leaving.values(), default=inf)

    def load(self, events: Iterable[Event], now: int) -> list[PresenceChange]:
        """Handle a snapshot, and return the changes; after the first one there are none."""
        self._present.clear()
        for event in events:
            self._fold(event)
        changes = self._update(now)
        is_first, self._is_loaded = not self._is_loaded, True
        return [] if is_first else changes

    def handle(self, event: Event, now: int) -> list[PresenceChange]:
        """Handle an event, and return the changes."""
        self._fold(event)
        return self._update(now)

    def tick(self, now: int) -> list[PresenceChange]:
        """Return the departures that are due."""
        due = [user for user, moment in self._leaving.items() if moment <= now]
        for user in due:
            del self._leaving[user]
        return [PresenceChange("left", self._shown.pop(user)) for user in due]

    def _fold(self, event: Event) -> None:
        if event.key is None:
            return
        if event.fold in ("end", "lapse"):
            self._present.pop(event.key, None)
            return
        data = event.data
        user = data.get("user") if isinstance(data, dict) else None
        if event.fold is None and isinstance(user, str):
            self._present.pop(event.key, None)  # then inserted last: the latest info counts
            info = data.get("info")
            member = PresentMember(user, info if isinstance(info, dict) else None)
            self._present[event.key] = member

    def _update(self, now: int) -> list[PresenceChange]:
        changes = self.tick(now)
        present = {member.user: member for member in self._present.values()}
        for user, member in present.items():
            if user not in self._shown:
                changes.append(PresenceChange("joined", member))
            self._shown[user] = member
            self._leaving.pop(user, None)
        for user in self._shown:
            if user not in present:
                self._leaving.setdefault(user, now + STAY)
        return changes
