"""Members of one channel, as readers see them: folded from events, each user once."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
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
        self._users: dict[str, str] = {}
        """User of each key."""
        self._present: dict[str, dict[str, PresentMember]] = {}
        """Members by user and key, in the order of the keys' last events."""
        self._shown: dict[str, PresentMember] = {}
        """Members by user, in the order in which they joined."""
        self._leaving: dict[str, int] = {}
        """Moment at which a user who has no key is removed."""
        self._more: dict[str, int] = {}
        """Number of users beyond the announced ones, by key: that of a server."""
        self._is_loaded = False

    @property
    def members(self) -> Sequence[PresentMember]:
        """The members that joined first, 100 at most."""
        return list(islice(self._shown.values(), MAX_MEMBERS))

    @property
    def by_user(self) -> Mapping[str, PresentMember]:
        """All members by user, in the order in which they joined."""
        return self._shown

    @property
    def count(self) -> int:
        """Number of all members, and of users that servers only count."""
        return len(self._shown) + sum(self._more.values())

    @property
    def next_change(self) -> float:
        """Moment of the next departure; infinite if none is known."""
        return min(self._leaving.values(), default=inf)

    def load(self, events: Iterable[Event], now: int) -> list[PresenceChange]:
        """Handle a snapshot, and return the changes; after the first one there are none."""
        for known in (self._users, self._present, self._more):
            known.clear()
        for event in events:
            self._fold(event)
        changes = self._update([*self._present, *self._shown], now)
        is_first, self._is_loaded = not self._is_loaded, True
        return [] if is_first else changes

    def handle(self, event: Event, now: int) -> list[PresenceChange]:
        """Handle an event, and return the changes."""
        return self._update(self._fold(event), now)

    def tick(self, now: int) -> list[PresenceChange]:
        """Return the departures that are due."""
        due = [user for user, moment in self._leaving.items() if moment <= now]
        for user in due:
            del self._leaving[user]
        return [PresenceChange("left", self._shown.pop(user)) for user in due]

    def _fold(self, event: Event) -> Sequence[str]:
        """Fold an event, and return the users that it concerns."""
        key = event.key
        if key is None:
            return ()
        if event.fold in ("end", "lapse"):
            return self._end(key)
        data = event.data
        if event.fold is not None or not isinstance(data, dict):
            return ()
        user, more = data.get("user"), data.get("more")
        if type(more) is int and more > 0:
            self._more[key] = more
        if not isinstance(user, str):
            return ()
        former, info = self._end(key), data.get("info")
        member = PresentMember(user, info if isinstance(info, dict) else None)
        self._users[key] = user
        self._present.setdefault(user, {})[key] = member
        return (*former, user)

    def _end(self, key: str) -> Sequence[str]:
        """End a key, and return its user."""
        self._more.pop(key, None)
        user = self._users.pop(key, None)
        if user is None:
            return ()
        del self._present[user][key]
        if not self._present[user]:
            del self._present[user]
        return (user,)

    def _update(self, users: Iterable[str], now: int) -> list[PresenceChange]:
        """Compare the list with the keys of some users, and return the changes."""
        changes = self.tick(now)
        for user in users:
            if keys := self._present.get(user):
                member = keys[next(reversed(keys))]  # the latest information counts
                if user not in self._shown:
                    changes.append(PresenceChange("joined", member))
                self._shown[user] = member
                self._leaving.pop(user, None)
            elif user in self._shown:
                self._leaving.setdefault(user, now + STAY)
        return changes
