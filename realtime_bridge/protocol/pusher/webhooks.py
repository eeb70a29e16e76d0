"""Webhooks of Pusher about channels and members: what changed since the last ones."""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import orjson
from msgspec import Struct

from realtime_bridge.model.channel import CONTROL
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.pusher.signatures import PusherApp

EVENT, ALIVE = "pusher.webhook", "pusher.webhooks.alive"
"""Names of the events: one to deliver, and one that keeps the facts of a part from their expiry."""

PARTS = 32
"""Channels of the log that share the facts, each with a limit of keys."""

MAX_FACTS = 1_000
"""The most facts of a part: a log keeps so many keys. Further ones are not reported."""

HookName = Literal["channel_occupied", "channel_vacated", "member_added", "member_removed"]


class Fact(NamedTuple):
    """Channel that is occupied, or with `user` a member that is present.

    Args:
        channel: Pusher's name of the channel.
        user: id of the member.

    """

    channel: str
    user: str | None = None


class Change(Struct, frozen=True):
    """Fact that began or ended.

    Args:
        fact: the fact.
        is_new: whether it began.
        number: number of its key in the log.

    """

    fact: Fact
    is_new: bool
    number: int

    @property
    def part(self) -> int:
        """The part of the fact."""
        return _part_of(self.fact)

    @property
    def event(self) -> Event:
        """The event that reports the change: the log keeps it as the state of the fact."""
        channel, user = self.fact
        data = {"name": _NAMES[user is not None, self.is_new], "channel": channel}
        body = orjson.dumps(data | ({} if user is None else {"user_id": user}))
        return Event.internal(part_channel(self.part), EVENT, body, key=str(self.number))


class ReportedFacts:
    """Facts that webhooks have reported, with numbers by which the log keeps them.

    A number that is free is used again: the log keeps as many keys as there were facts at once.
    Times are seconds of a monotonic clock.

    Args:
        stay: time for which a channel without subscribers counts as occupied: a page may reload.
        limit: the most facts of a part.

    """

    def __init__(self, stay: float, limit: int = MAX_FACTS) -> None:
        self._stay = stay
        self._limit = limit
        self._numbers: list[dict[Fact, int]] = [{} for _ in range(PARTS)]
        self._vacant_since: dict[str, float] = {}
        self.unreported: int = 0
        """Number of facts beyond the limit, as of the last changes."""

    @property
    def parts(self) -> Sequence[int]:
        """The parts that have facts."""
        return [part for part, numbers in enumerate(self._numbers) if numbers]

    @property
    def channels(self) -> Sequence[str]:
        """The channels that are reported to be occupied."""
        return [fact.channel for numbers in self._numbers for fact in numbers if fact.user is None]

    def load(self, part: int, events: Iterable[Event]) -> None:
        """Begin with the latest events of a part."""
        self._numbers[part] = {}
        for event in events:
            if event.event == EVENT and event.key is not None:
                data = event.data
                if data["name"] in (_NAMES[False, True], _NAMES[True, True]):
                    fact = Fact(data["channel"], data.get("user_id"))
                    self._numbers[part][fact] = int(event.key)

    def changes(
        self, occupied: Iterable[str], members: Mapping[str, Iterable[str]], now: float
    ) -> Sequence[Change]:
        """Return what differs from what is reported; `settle` notes that a change is stored.

        Args:
            occupied: the channels with subscribers.
            members: the users who are present, by channel.
            now: the time.

        """
        channels = self._keep_for_a_while(set(occupied), now)
        facts = {Fact(channel) for channel in channels}
        facts |= {Fact(name, user) for name in channels for user in members.get(name, ())}
        reported = {fact: number for numbers in self._numbers for fact, number in numbers.items()}
        # A channel is occupied before its members come, and vacated after they left.
        ended = sorted(reported.keys() - facts, key=_order, reverse=True)
        begun = sorted(facts - reported.keys(), key=_order)
        free = [_free_numbers(numbers.values(), self._limit) for numbers in self._numbers]
        numbered = [(fact, next(free[_part_of(fact)], None)) for fact in begun]
        self.unreported = sum(number is None for _, number in numbered)
        return [
            *(Change(fact, is_new=False, number=reported[fact]) for fact in ended),
            *(Change(fact, is_new=True, number=n) for fact, n in numbered if n is not None),
        ]

    def settle(self, change: Change) -> None:
        """Note that a change is stored."""
        numbers = self._numbers[change.part]
        if change.is_new:
            numbers[change.fact] = change.number
        else:
            del numbers[change.fact]

    def _keep_for_a_while(self, occupied: set[str], now: float) -> set[str]:
        """Return the channels that are occupied, or were a moment ago."""
        vacant = set(self.channels) - occupied
        self._vacant_since = {name: self._vacant_since.get(name, now) for name in vacant}
        return occupied | {
            name for name, since in self._vacant_since.items() if now < since + self._stay
        }


def part_channel(part: int) -> str:
    """Return the log's channel of a part."""
    return f"{CONTROL}.pusher.webhooks.{part}"


def keep_alive(part: int) -> Event:
    """Return an event that is not delivered, and keeps a part from its expiry."""
    return Event.internal(part_channel(part), ALIVE, b"null")


def encode_webhook(event: Event) -> bytes:
    """Return the body of a webhook, the same for each attempt."""
    return orjson.dumps({"time_ms": event.time, "events": [orjson.Fragment(event.body)]})


def sign_webhook(app: PusherApp, body: bytes) -> Mapping[str, str]:
    """Return the headers of a webhook, by which Pusher's libraries verify it."""
    return {
        "content-type": "application/json",
        "x-pusher-key": app.key,
        "x-pusher-signature": app.sign(body.decode()),
    }


def _part_of(fact: Fact) -> int:
    return zlib.crc32(fact.channel.encode()) % PARTS


def _order(fact: Fact) -> tuple[str, bool, str]:
    return fact.channel, fact.user is not None, fact.user or ""


def _free_numbers(taken: Iterable[int], limit: int) -> Iterator[int]:
    numbers = set(taken)
    return (number for number in range(limit) if number not in numbers)


_NAMES: Mapping[tuple[bool, bool], HookName] = {
    (False, True): "channel_occupied",
    (False, False): "channel_vacated",
    (True, True): "member_added",
    (True, False): "member_removed",
}
