"""Announcements of one server: each user once, late departures, numbers of keys, and limits."""

from math import inf

from realtime_bridge.model.key_write import KeyWrite
from realtime_bridge.model.receipt import Lease
from realtime_bridge.protocol.presence.node_members import (
    JOINED,
    LEFT,
    MAX_ANNOUNCEMENTS,
    MORE,
    NodeMembers,
)

CHANNEL = "@realtime.presence.chat.1"


def make(limit: int = 250) -> NodeMembers:
    return NodeMembers("n", lease=25, stay=2, limit=limit)


def announce(members: NodeMembers, now: float) -> list[tuple[str, str, str]]:
    """Settle what is due, as a log that accepts it, and return event, user and key."""
    done = []
    for one in members.due(now):
        members.settle(one)
        done.append((one.event.event, one.member.user, str(one.event.key)))
    return done


def enter(members: NodeMembers, user: str, holder: object, now: float = 0, **more: float) -> None:
    members.enter(CHANNEL, user, holder, None, now=now, **more)


def test_user_is_announced_once_and_leaves_after_the_last_holder() -> None:
    members = make()
    enter(members, "ada", 1)
    enter(members, "ada", 2)
    assert members.next_due(0) == 0
    assert announce(members, 0) == [(JOINED, "ada", "n-1")]
    assert announce(members, 0) == []
    assert members.next_due(0) == inf
    members.leave(CHANNEL, "ada", [1], now=5)
    assert announce(members, 9) == []
    members.leave(CHANNEL, "ada", [2], now=10)
    members.leave(CHANNEL, "ada", [2], now=11.5)  # it has left
    assert members.next_due(10) == 12
    assert announce(members, 11.9) == []
    assert announce(members, 12) == [(LEFT, "ada", "n-1")]
    assert announce(members, 12) == []
    assert members.next_due(12) == inf
    members.leave(CHANNEL, "ada", [2], now=13)
    assert announce(members, 20) == []


def test_polls_of_a_present_user_wake_nothing() -> None:
    members = make(limit=1)

    def poll(user: str, now: float, info: dict[str, int] | None = None) -> bool:
        return members.enter(CHANNEL, user, "poll", info, now=now, until=now + 30)

    assert poll("ada", 0)
    assert announce(members, 0) == [(JOINED, "ada", "n-1")]
    assert poll("eve", 0)  # without a free key
    assert announce(members, 0) == [(MORE, "", "n-0")]
    assert [poll("ada", 10), poll("eve", 10)] == [False, False]
    # Information that changed is announced.
    assert poll("ada", 20, {"room": 2})
    assert announce(members, 20) == [(JOINED, "ada", "n-1")]
    assert members.next_due(20) == 40
    assert announce(members, 50) == [(LEFT, "ada", "n-1"), (MORE, "", "n-0")]
    assert poll("eve", 50)
    assert announce(members, 50) == [(JOINED, "eve", "n-1")]


def test_user_who_returns_in_time_announces_nothing() -> None:
    members = make()
    enter(members, "ada", 1)
    announce(members, 0)
    members.leave(CHANNEL, "ada", [1], now=10)
    enter(members, "ada", 2, now=11.9)
    assert announce(members, 20) == []


def test_user_who_leaves_before_the_announcement_announces_nothing() -> None:
    members = make()
    enter(members, "ada", 1)
    members.leave(CHANNEL, "ada", [1], now=0)
    assert announce(members, 2) == []
    assert members.next_due(2) == inf


def test_user_who_returns_while_the_departure_is_written_joins_again() -> None:
    members = make()
    enter(members, "ada", 1)
    announce(members, 0)
    members.leave(CHANNEL, "ada", [1], now=0)
    (departure,) = members.due(2)
    enter(members, "ada", 2, now=2)
    members.settle(departure)
    assert announce(members, 2) == [(JOINED, "ada", "n-1")]


def test_poll_counts_for_its_time_and_ends_with_the_connection() -> None:
    members = make()
    enter(members, "ada", "c_1", until=30)
    enter(members, "ada", 1)
    announce(members, 0)
    members.leave(CHANNEL, "ada", [1, "c_1"], now=1)
    assert announce(members, 3) == [(LEFT, "ada", "n-1")]
    enter(members, "bob", "c_2", now=3, until=30)
    announce(members, 3)
    assert members.next_due(3) == 30
    enter(members, "bob", "c_2", now=20, until=50)
    assert announce(members, 30) == []
    assert announce(members, 50) == [(LEFT, "bob", "n-1")]


def test_each_announcement_has_a_lease_of_its_own() -> None:
    # A log that lost its last events has another user under the number, or other data.
    members, leases = make(), []
    for now, user, info in ((0, "ada", None), (0, "ada", {"room": 2}), (9, "eve", None)):
        if user == "eve":
            members.leave(CHANNEL, "ada", [1], now=0)
            (left,) = members.due(2)
            assert left.event.write == KeyWrite("end", "n-2")
            members.settle(left)
        members.enter(CHANNEL, user, 1, info, now=now)
        (joined,) = members.due(now)
        members.settle(joined)
        leases.append(joined.member.lease)
    assert leases == [Lease(CHANNEL, "n-1", attempt) for attempt in ("n-1", "n-2", "n-3")]


def test_new_information_is_announced() -> None:
    members = make()
    enter(members, "ada", 1)
    announce(members, 0)
    members.enter(CHANNEL, "ada", 2, {"name": "Ada"}, now=1)
    assert announce(members, 1) == [(JOINED, "ada", "n-1")]


def test_lost_member_is_announced_again_unless_it_left() -> None:
    members = make()
    enter(members, "ada", 1)
    (join,) = members.due(0)
    members.settle(join)
    members.lose(join.member)
    assert announce(members, 1) == [(JOINED, "ada", "n-1")]
    assert join.member.lease == Lease(CHANNEL, "n-1", "n-2")
    members.leave(CHANNEL, "ada", [1], now=1)
    members.lose(join.member)
    assert announce(members, 3) == []
    members.lose(join.member)
    assert members.next_due(3) == inf


def test_over_the_limit_a_user_waits_for_a_number() -> None:
    members = make(limit=2)
    for user in ("ada", "bob", "cyd"):
        enter(members, user, 1)
    assert announce(members, 0) == [
        (JOINED, "ada", "n-1"), (JOINED, "bob", "n-2"), (MORE, "", "n-0"),
    ]  # fmt: skip
    assert members.next_due(0) == inf
    members.leave(CHANNEL, "ada", [1], now=0)
    assert announce(members, 2) == [(LEFT, "ada", "n-1")]
    assert members.next_due(2) == 2
    assert announce(members, 2) == [(JOINED, "cyd", "n-1"), (MORE, "", "n-0")]


def numbers(members: NodeMembers, now: float) -> list[bytes | None]:
    """Settle what is due, and return the numbers of further users."""
    done = []
    for one in members.due(now):
        members.settle(one)
        if one.event.event == MORE:
            done.append(one.data)
    return done


def test_number_of_further_users_is_announced_once_a_second() -> None:
    members = make(limit=1)
    enter(members, "ada", 1)
    assert numbers(members, 0) == []
    for user in ("bob", "cyd"):
        enter(members, user, 1)
    assert numbers(members, 0) == [b'{"more":2}']
    enter(members, "dan", 1, now=0.5)
    assert members.next_due(0.5) == 1
    assert numbers(members, 0.5) == []
    assert numbers(members, 1) == [b'{"more":3}']
    for user in ("bob", "cyd", "dan"):
        members.leave(CHANNEL, user, [1], now=1)
    assert numbers(members, 3) == [None]
    assert members.next_due(3) == inf
    enter(members, "eve", 1, now=4)
    assert numbers(members, 4) == [b'{"more":1}']


def test_number_that_the_log_lost_is_announced_again() -> None:
    members = make(limit=1)
    for user in ("ada", "bob"):
        enter(members, user, 1)
    announcements = members.due(0)
    for one in announcements:
        members.settle(one)
    members.lose(announcements[-1].member)
    assert numbers(members, 1) == [b'{"more":1}']


def test_one_append_has_a_limited_number_of_announcements() -> None:
    members = make(limit=1_000)
    for number in range(MAX_ANNOUNCEMENTS + 1):
        enter(members, f"u{number}", 1)
    assert len(announce(members, 0)) == MAX_ANNOUNCEMENTS
    assert len(announce(members, 0)) == 1
