"""Members that one server announces: users of its connections and polls, by channel."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from itertools import chain, count
from math import inf
from typing import Any

import orjson
from msgspec import Struct

from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import KeyWrite, Will
from realtime_bridge.model.receipt import Lease

JOINED, LEFT, MORE = "presence.joined", "presence.left", "presence.more"
"""Names of the events."""

MAX_NODE_MEMBERS = 250
"""Users of one channel that one server announces: a log has 1 000 keys for all servers."""

MORE_INTERVAL = 1.0
"""Seconds between two announcements of the number of further users."""

_MORE_NUMBER = 0
"""Number of the key with that number; those of users begin with 1."""

MAX_INFO_BYTES = 1_024
"""Longest information about one member, as JSON."""

MAX_ANNOUNCEMENTS = 500
"""Announcements of one append."""

_NONE = b'{"more":0}'

_STAY = "stay"
"""Holder of a user whose last connection has ended: no client has such a short id."""


class Member:
    """User of one channel, with the connections and polls that make the user present.

    Args:
        channel: name of the presence channel.
        user: the user's id.

    """

    __slots__ = ("announced", "channel", "data", "holders", "lease", "number", "user")

    def __init__(self, channel: str, user: str) -> None:
        self.channel: str = channel
        self.user: str = user
        self.data: bytes = b""
        """Data of the announcement: the user's id, and what the application adds to it."""
        self.holders: dict[Hashable, float] = {}
        """Connections and polling clients, each with the moment until which it counts."""
        self.number: int | None = None
        """Number of the member's key; it has one from the first announcement on."""
        self.announced: bytes | None = None
        """Data of the announcement that the log has; None if it has none."""
        self.lease: Lease | None = None
        """Lease of that announcement."""

    def drop_expired(self, now: float) -> None:
        """Remove the holders that count no longer."""
        for holder in [holder for holder, until in self.holders.items() if until <= now]:
            del self.holders[holder]

    @property
    def ends_at(self) -> float:
        """Moment at which the user is absent; infinite during a connection."""
        return max(self.holders.values(), default=-inf)


class MoreUsers(Member):
    """Users of one channel beyond those that the server announces, of which readers get the number.

    Args:
        channel: name of the presence channel.

    """

    __slots__ = ("next_at",)

    def __init__(self, channel: str) -> None:
        super().__init__(channel, user="")
        self.number: int | None = _MORE_NUMBER
        self.next_at: float = -inf
        """Moment from which the number is announced again."""


class Announcement(Struct, frozen=True, gc=False):
    """Event to append for a member.

    Args:
        member: the member.
        event: the event.
        data: data of the announcement; None if the member has left.
        lease: lease that the event begins; None if the member has left.

    """

    member: Member
    event: Event
    data: bytes | None
    lease: Lease | None


class NodeMembers:
    """Members of one server: decides what it announces, and when.

    A user counts once, however many connections there are. Users beyond the limit are announced by
    their number alone. One who leaves is announced after a
    moment, so that a page which reloads announces nothing. Keys are numbered, and a number that is
    free is used again: the log keeps as many keys as users were present at once.

    Args:
        node: name of this run of the server; its keys and attempts begin with it.
        lease: seconds of the server's silence after which the log ends its members.
        stay: seconds for which a user stays after the last connection.
        limit: the most users of one channel.

    """

    def __init__(
        self, node: str, *, lease: int, stay: float, limit: int = MAX_NODE_MEMBERS
    ) -> None:
        self._node = node
        self._lease = lease
        self._stay = stay
        self._limit = limit
        self._members: dict[tuple[str, str], Member] = {}
        self._pending: dict[tuple[str, str], Member] = {}
        """Members that have something to announce, now or at a known moment."""
        self._numbers: defaultdict[str, set[int]] = defaultdict(set)
        """Numbers in use, by channel."""
        self._users: Counter[str] = Counter()
        """Number of users, by channel."""
        self._more: dict[str, MoreUsers] = {}
        """Channels that have, or had, more users than numbers."""
        # Each announcement is an attempt of its own. A log that lost its last events may have an
        # earlier user under a number, or earlier data: it refuses to renew the lease of these.
        self._attempts = count(1)

    def enter(
        self,
        channel: str,
        user: str,
        holder: Hashable,
        info: Mapping[str, Any] | None,
        *,
        now: float,
        until: float = inf,
    ) -> bool:
        """Count a holder of the user's presence until a moment, or until it leaves.

        Return whether `next_due` may be earlier now. A poll of a present user changes nothing: each
        would cost a look at all members.
        """
        place = channel, user
        member = self._members.get(place)
        is_new = member is None
        if member is None:
            member = self._members[place] = Member(channel, user)
            self._users[channel] += 1
            if self._users[channel] > self._limit:
                self._more.setdefault(channel, MoreUsers(channel))
        member.drop_expired(now)
        member.holders[holder] = until
        member.data = orjson.dumps({"user": user, "info": info})
        self._pending[place] = member
        return is_new or self._due_at(member, now) <= now

    def leave(self, channel: str, user: str, holders: Iterable[Hashable], *, now: float) -> None:
        """End holders; the user stays for a moment after the last one. Others are ignored."""
        place = channel, user
        member = self._members.get(place)
        if member is None:
            return
        ended = [member.holders.pop(holder) for holder in holders if holder in member.holders]
        if ended and member.ends_at < now + self._stay:
            member.holders[_STAY] = now + self._stay
        self._pending[place] = member

    def lose(self, member: Member) -> None:
        """Note that the log has ended the member, or lost it."""
        place = member.channel, member.user
        if self._members.get(place) is member:
            member.announced = None
            self._pending[place] = member
        elif self._more.get(member.channel) is member:
            member.announced = None

    def due(self, now: float) -> list[Announcement]:
        """Return the announcements of this moment, at most as many as one append takes."""
        announcements: list[Announcement] = []
        for place, member in list(self._pending.items()):
            if announcement := self._announcement(member, now):
                announcements.append(announcement)
            elif member.announced is None and member.ends_at <= now:
                self._forget(member)
            elif member.announced is not None and member.ends_at == inf:
                del self._pending[place]
            if len(announcements) == MAX_ANNOUNCEMENTS:
                return announcements
        # After the members above, which leave room for others or take it.
        return announcements + self._due_numbers(now)

    def settle(self, announcement: Announcement) -> None:
        """Note that the log has an announcement, or refuses the end of a member it has not."""
        member = announcement.member
        member.announced = announcement.data
        member.lease = announcement.lease
        if announcement.data is None and not isinstance(member, MoreUsers):
            self._free(member)

    def next_due(self, now: float) -> float:
        """Return the moment of the next announcement; infinite if none is known."""
        members = (self._due_at(member, now) for member in self._pending.values())
        numbers = (
            max(now, more.next_at)
            for more in self._more.values()
            if self._number_of(more) != more.announced
        )
        return min(chain(members, numbers), default=inf)

    def _due_numbers(self, now: float) -> list[Announcement]:
        """Return the announcements of the numbers of further users."""
        announcements = []
        for more in list(self._more.values()):
            data = self._number_of(more)
            if data is None and more.announced is None:
                del self._more[more.channel]
            elif data != more.announced and now >= more.next_at:
                more.next_at = now + MORE_INTERVAL
                announcements.append(self._counted(more, data))
        return announcements

    def _number_of(self, more: MoreUsers) -> bytes | None:
        number = self._users[more.channel] - len(self._numbers.get(more.channel, ()))
        return orjson.dumps({"more": number}) if number else None

    def _counted(self, more: MoreUsers, data: bytes | None) -> Announcement:
        if data is None:
            return self._end(more, MORE, _NONE)
        return self._begin(more, MORE, data, Will(MORE, _NONE))

    def _announcement(self, member: Member, now: float) -> Announcement | None:
        if self._due_at(member, now) > now:
            return None
        if member.ends_at > now:
            return self._joined(member)
        if member.announced is None:
            return None
        return self._left(member)

    def _due_at(self, member: Member, now: float) -> float:
        if member.ends_at > now and member.announced != member.data and self._has_room(member):
            return now
        return member.ends_at

    def _joined(self, member: Member) -> Announcement:
        if member.number is None:
            numbers = self._numbers[member.channel]
            member.number = next(number for number in count(1) if number not in numbers)
            numbers.add(member.number)
        will = Will(LEFT, orjson.dumps({"user": member.user}))
        return self._begin(member, JOINED, member.data, will)

    def _left(self, member: Member) -> Announcement:
        return self._end(member, LEFT, orjson.dumps({"user": member.user}))

    def _begin(self, member: Member, name: str, data: bytes, will: Will) -> Announcement:
        attempt = f"{self._node}-{next(self._attempts)}"
        write = KeyWrite(None, attempt, "always", self._lease, will)
        lease = Lease(member.channel, self._key(member), attempt)
        return Announcement(member, self._event(member, name, data, write), data, lease)

    def _end(self, member: Member, name: str, data: bytes) -> Announcement:
        assert member.lease  # it was announced
        write = KeyWrite("end", member.lease.attempt)
        return Announcement(member, self._event(member, name, data, write), None, None)

    def _event(self, member: Member, name: str, data: bytes, write: KeyWrite) -> Event:
        return Event.internal(member.channel, name, data, key=self._key(member), write=write)

    def _key(self, member: Member) -> str:
        return f"{self._node}-{member.number}"

    def _has_room(self, member: Member) -> bool:
        return member.number is not None or len(self._numbers[member.channel]) < self._limit

    def _forget(self, member: Member) -> None:
        place = member.channel, member.user
        del self._members[place], self._pending[place]
        self._users[member.channel] -= 1
        if not self._users[member.channel]:
            del self._users[member.channel]
        self._free(member)

    def _free(self, member: Member) -> None:
        if member.number is not None:
            self._numbers[member.channel].discard(member.number)
            member.number = None
        if not self._numbers[member.channel]:
            del self._numbers[member.channel]
